"""From people's edits to a data set that a recipe reads: the text as it is now, exactly the samples of each segment."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from milo.audio.encode import encode
from milo.jobs import Job, NewJob
from milo.ledger import Ledger, consents
from milo.ledger.revisions import Revisions, transcript_of
from milo.recipes import Data, Evaluation, Splits
from milo.settings import Settings
from milo.storage.files import Files
from milo.training import correction_sets, datasets, suites
from milo.training.correction_sets import CorrectionRow, CorrectionSet
from milo.training.suites import Member, text_hash
from tests.milo.transcription.test_edits import READ, spoken
from workers.kinds.corrections import cut
from workers.runner import Runner

RAMP = (np.arange(6 * 16_000) % 20_000).astype(np.int16)
SAID = spoken("salama tompoko", "inona no vaovao", "tsy misy")


@pytest.fixture
def files(settings: Settings) -> Files:
    return Files(settings)


def edited(ledger: Ledger, files: Files, owner: str = "ana", give: bool = True, **operation: Any) -> Job:
    wav = encode(RAMP.astype(np.float32) / 32768, 16_000, "wav")
    payload = {"source": {"blob": files.put_blob(io.BytesIO(wav)).id, "name": "a.wav"}, "model": "m"}
    claim = ledger.claim(ledger.create(NewJob(kind="stt", payload=payload, owner=owner, priority="batch")).id, "w")
    assert claim
    job = ledger.finish(claim, SAID.model_dump())
    revisions = Revisions(ledger, lambda one: transcript_of(files, one))
    if operation:
        revisions.edit(job, 0, owner, READ.validate_python([operation]))
    if give:
        consents.give(ledger, job, owner)
    return job


def collected(settings: Settings, ledger: Ledger, files: Files, **payload: Any) -> tuple[dict[str, Any], list[Any]]:
    """The result of the job, and the rows of its table."""
    new = NewJob(kind="corrections", payload={"owner": "ana"} | payload, owner="ana", priority="background")
    job = ledger.create(new)
    Runner(settings, ledger, files, "w/0").run(job.id)
    result = ledger.get(job.id).result
    assert result is not None, ledger.get(job.id).error
    lines = (Path(result["path"]) / "train.jsonl").read_text("utf-8").splitlines()
    return result, [json.loads(line) for line in lines]


def test_what_was_given_and_corrected_becomes_a_set_with_its_exact_samples(
    settings: Settings, ledger: Ledger, files: Files
) -> None:
    job = edited(ledger, files, op="text", segment=1, text="inona ny vaovao")
    edited(ledger, files, op="text", segment=1, text="tsy nomena", give=False)
    edited(ledger, files, owner="bob", op="text", segment=1, text="an'olon-kafa")
    edited(ledger, files)  # given, and never edited
    result, rows = collected(settings, ledger, files)
    assert [(row["text"], row["machine_text"], row["transcript_id"]) for row in rows] == [
        ("inona ny vaovao", "inona no vaovao", job.id)
    ]
    pcm, rate = soundfile.read(Path(result["path"]) / rows[0]["audio"], dtype="int16")
    segment = SAID.segments[1]
    assert rate == 16_000 and np.array_equal(pcm, RAMP[int(segment.start * 16_000) : round(segment.end * 16_000)])
    data = Data(source=result["path"], splits=Splits(validation=None, test=None))
    datasets.check(data, to_train=True)
    parts, said = datasets.read(data)
    assert parts and [row.text for row in parts["train"]] == ["inona ny vaovao"] and "audio from 'audio'" in said
    assert len(collected(settings, ledger, files, segments="all")[1]) == 3
    assert len(collected(settings, ledger, files, owner=None)[1]) == 2, "the operator collects everybody's"


def test_what_a_suite_judges_by_is_left_out_and_counted(settings: Settings, ledger: Ledger, files: Files) -> None:
    job = edited(ledger, files, op="text", segment=0, text="hafa kely")
    members = [
        Member(id="u", part="watch", audio="x", recording="x", text=text_hash("Hafa kely!", "mg"), speaker=None),
        Member(id="v", part="watch", audio="y", recording=job.payload["source"]["blob"], text="t", speaker=None),
    ]
    for member in members:
        made = suites.new("k", "whisper", Data(source="synthetic"), Evaluation(), "d", [member])
        suites.keep(settings, made)
        result, rows = collected(settings, ledger, files)
        assert rows == [] and result["judged_by"] == 1, "by its text; then by its recording"
    suites.keep(settings, suites.new("k", "whisper", Data(source="synthetic"), Evaluation(), "d", []))
    result, rows = collected(settings, ledger, files)
    assert len(rows) == 1 and result["judged_by"] == 0


def test_what_is_taken_back_leaves_the_sets_that_were_made(settings: Settings, ledger: Ledger, files: Files) -> None:
    kept = edited(ledger, files, op="text", segment=0, text="mijanona")
    gone = edited(ledger, files, op="text", segment=0, text="miala")
    result, _ = collected(settings, ledger, files)
    consents.revoke(ledger, gone.id, "ana", "ana")
    assert correction_sets.forget(settings, gone.id) == 1
    path = Path(result["path"])
    assert [one.name for one in (path / "clips").iterdir()] == [f"{kept.id}-0.wav"]
    assert gone.id not in (path / "train.jsonl").read_text("utf-8")
    assert [row["transcript_id"] for row in collected(settings, ledger, files)[1]] == [kept.id]
    assert consents.give(ledger, gone, "ana").holds and correction_sets.forget(settings, "job_none") == 0


def test_what_is_taken_back_while_a_set_is_written_does_not_get_into_it(settings: Settings) -> None:
    with CorrectionSet(settings, "job_x") as made:
        for name in ("one", "two"):
            row = CorrectionRow(
                id=name, audio=f"clips/{name}.wav", text=name, speaker=name, language="mg", transcript_id=name,
                segment_id=0, revision=1, machine_text=None,
            )  # fmt: skip
            made.add(row, b"RIFF")
        assert [row.id for row in made.complete(["two"])] == ["two"]
    assert [one.name for one in (made.path / "clips").iterdir()] == ["two.wav"]
    assert [one.name for one in made.path.parent.iterdir()] == ["job_x"], "nothing is left beside it"


@pytest.mark.parametrize("size", [1, 777, 16_000, 10**6])
def test_a_cut_does_not_depend_on_the_blocks(size: int) -> None:
    segments = [
        SAID.segments[0].model_copy(update={"id": number, "start": start, "end": end})
        for number, (start, end) in enumerate([(0.0, 0.01), (0.005, 0.02), (0.02, 9.0)])
    ]
    pcm = RAMP[:1000]
    blocks = (pcm[at : at + size] for at in range(0, len(pcm), size))
    found = {segment.id: part for segment, part in cut(blocks, segments)}
    assert np.array_equal(found[0], pcm[:160]) and np.array_equal(found[1], pcm[80:320])
    assert np.array_equal(found[2], pcm[320:]), "the last one ends with the recording"
