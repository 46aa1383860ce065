"""From a file to a transcript through both stages, with a fake engine that says how long each window is."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from milo.audio.encode import encode
from milo.jobs import Job, NewJob
from milo.ledger import Ledger
from milo.protocols import DecodeOptions, FakeTranscriber, Samples, WindowText
from milo.settings import Settings
from milo.storage.files import Files
from milo.transcription.transcript import Transcript
from tests.milo.audio.test_sandbox import broken
from tests.milo.transcription.test_channels import TWO_AT_ONCE
from tests.support.speech_factory import spoken
from workers import engines
from workers.runner import Runner


@pytest.fixture
def files(settings: Settings) -> Files:
    return Files(settings)


@pytest.fixture
def runner(settings: Settings, ledger: Ledger, files: Files) -> Runner:
    return Runner(settings, ledger, files, "w/0")


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeTranscriber:
    """The engine that every job gets, whatever model it names."""
    fake = FakeTranscriber()
    fake.pack_window_s = 2.0

    @contextmanager
    def transcriber(settings: Settings, name: str) -> Iterator[FakeTranscriber]:
        yield fake

    monkeypatch.setattr(engines, "transcriber", transcriber)
    monkeypatch.setattr(engines, "report", lambda settings, worker: None)
    return fake


def submit(ledger: Ledger, files: Files, samples: Samples, **fields: object) -> Job:
    blob = files.put_blob(io.BytesIO(encode(samples, 16_000, "wav")))
    payload = {"source": {"blob": blob.id, "name": "a.wav"}, "model": "m"}
    values = {"kind": "stt", "payload": payload, "owner": "ana", "priority": "batch"}
    return ledger.create(NewJob.model_validate(values | fields))


def transcript_of(ledger: Ledger, files: Files, job: Job) -> Transcript:
    done = ledger.get(job.id)
    assert done.state == "succeeded", done.error
    if done.result_file:
        return Transcript.model_validate_json(files.read_result(done.result_file))
    return Transcript.model_validate(done.result)


def sentences(count: int, pause_s: float = 1.0) -> Samples:
    """`count` spoken sentences with pauses between."""
    pause = np.zeros(int(pause_s * 16_000), np.float32)
    return np.concatenate([part for n in range(count) for part in (pause, spoken(n))] + [pause])


def test_a_recording_passes_both_stages_and_its_times_are_those_of_the_file(
    runner: Runner, ledger: Ledger, files: Files, engine: FakeTranscriber
) -> None:
    audio = sentences(3)
    job = submit(ledger, files, audio)
    assert runner.run(job.id) == "done"
    between = ledger.get(job.id)
    assert (between.state, between.stage) == ("queued", "transcribe")
    assert between.audio_s == pytest.approx(len(audio) / 16_000, abs=0.01)
    assert runner.run(job.id) == "done"
    result = transcript_of(ledger, files, job)
    assert len(result.segments) >= 3
    assert result.segments[0].start == pytest.approx(1.0, abs=0.4)
    assert result.segments[-1].end == pytest.approx(len(audio) / 16_000 - 1.0, abs=0.6)
    assert result.duration == pytest.approx(len(audio) / 16_000, abs=0.01)


def test_silence_gives_an_empty_transcript_and_never_reaches_the_engine(
    runner: Runner, ledger: Ledger, files: Files, engine: FakeTranscriber
) -> None:
    job = submit(ledger, files, np.zeros(5 * 16_000, np.float32))
    runner.run(job.id)
    runner.run(job.id)
    result = transcript_of(ledger, files, job)
    assert (result.text, result.segments, result.confidence) == ("", [], None)
    assert engine.calls == []


def test_jobs_of_equal_options_share_engine_batches(
    runner: Runner, ledger: Ledger, files: Files, engine: FakeTranscriber
) -> None:
    jobs = [submit(ledger, files, spoken(n)) for n in range(5)]
    for job in jobs:
        runner.run(job.id)
    assert runner.run(jobs[0].id) == "done"
    assert all(ledger.get(job.id).state == "succeeded" for job in jobs)
    assert len(engine.calls) == 1 and engine.calls[0] >= 5


def test_a_job_that_gives_way_goes_on_from_its_last_finished_window(
    settings: Settings, ledger: Ledger, files: Files, engine: FakeTranscriber
) -> None:
    small_slices = settings.model_copy(update={"slice_s": 0, "batch_windows": 2})
    runner = Runner(small_slices, ledger, files, "w/0")
    job = submit(ledger, files, sentences(5))
    runner.run(job.id)
    words = []
    while not ledger.get(job.id).final:
        words.append(runner.run(job.id))
    assert words.count("slice ended") >= 2
    assert len(transcript_of(ledger, files, job).segments) == sum(engine.calls), "no window was heard twice"


def test_a_long_recording_is_asked_for_its_language_now_and_then(
    settings: Settings, ledger: Ledger, files: Files, engine: FakeTranscriber
) -> None:
    jobs = [submit(ledger, files, sentences(26), owner=owner) for owner in ("ana", "ben")]
    settings = settings.model_copy(update={"stt_ask_language": "recording"})
    sliced = settings.model_copy(update={"slice_s": 0, "batch_windows": 2})
    whole = Runner(settings, ledger, files, "w/0")
    whole.run(jobs[0].id)
    whole.run(jobs[0].id)
    windows = sum(engine.calls)
    assert windows >= 24 and engine.asked == math.ceil(windows / 8) + (windows % 8 != 1)
    before, engine.asked = engine.asked, 0
    runner = Runner(sliced, ledger, files, "w/1")
    while not ledger.get(jobs[1].id).final:
        runner.run(jobs[1].id)
    assert engine.asked == before and sum(engine.calls) == 2 * windows, "the same windows, wherever it gave way"
    texts = [transcript_of(ledger, files, job) for job in jobs]
    assert texts[0].segments == texts[1].segments and texts[0].language == texts[1].language == "mg"


def test_by_default_each_window_is_asked_for_its_language(
    runner: Runner, ledger: Ledger, files: Files, engine: FakeTranscriber
) -> None:
    job = submit(ledger, files, sentences(26))
    runner.run(job.id)
    runner.run(job.id)
    assert engine.asked == sum(engine.calls) >= 24


def test_what_a_dying_worker_left_half_written_is_heard_again(
    ledger: Ledger, files: Files, engine: FakeTranscriber, settings: Settings
) -> None:
    runner = Runner(settings.model_copy(update={"slice_s": 0, "batch_windows": 1}), ledger, files, "w/0")
    job = submit(ledger, files, sentences(3))
    runner.run(job.id)
    assert runner.run(job.id) == "slice ended"
    (saved,) = files.work_folder(job.id).glob("heard-*.jsonl")
    saved.write_text(saved.read_text()[:-20])
    another = Runner(settings, ledger, files, "w/1")
    assert another.run(job.id) == "done"
    assert len(transcript_of(ledger, files, job).segments) == sum(engine.calls) - 1


def test_a_model_with_broken_weights_fails_the_job_and_invents_nothing(
    runner: Runner, ledger: Ledger, files: Files, engine: FakeTranscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = FakeTranscriber.transcribe

    def broken(self: FakeTranscriber, windows: list[Samples], options: DecodeOptions, _: object) -> list[WindowText]:
        return [replace(text, avg_logprob=float("nan")) for text in whole(self, windows, options)]

    monkeypatch.setattr(FakeTranscriber, "transcribe", broken)
    job = submit(ledger, files, spoken(1))
    runner.run(job.id)
    runner.run(job.id)
    failed = ledger.get(job.id)
    assert failed.state == "failed" and failed.error and "weights are broken" in failed.error["detail"]
    assert failed.attempt == 1 and not failed.error["retryable"], "it would fail again"


def test_a_recording_that_a_model_breaks_on_does_not_take_its_neighbours_along(
    runner: Runner, ledger: Ledger, files: Files, engine: FakeTranscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = FakeTranscriber.transcribe

    def breaks_on_the_longest(
        self: FakeTranscriber, windows: list[Samples], options: DecodeOptions, _: object
    ) -> list[WindowText]:
        texts = whole(self, windows, options)
        return [
            replace(text, avg_logprob=float("nan")) if len(window) > 3 * 16_000 else text
            for text, window in zip(texts, windows, strict=True)
        ]

    engine.pack_window_s = 30.0
    monkeypatch.setattr(FakeTranscriber, "transcribe", breaks_on_the_longest)
    good, bad = submit(ledger, files, spoken(1)), submit(ledger, files, sentences(4, 0.4))
    for job in (good, bad, good, bad):
        runner.run(job.id)
    assert ledger.get(good.id).state == "succeeded"
    failed = ledger.get(bad.id)
    assert failed.state == "failed" and failed.error and failed.error["code"] == "model_broken"


def test_a_job_whose_decoded_audio_was_lost_is_decoded_again(
    runner: Runner, ledger: Ledger, files: Files, engine: FakeTranscriber
) -> None:
    job = submit(ledger, files, spoken(1))
    runner.run(job.id)
    files.drop_work(job.id)
    runner.run(job.id)
    back = ledger.get(job.id)
    assert (back.state, back.stage, back.attempt) == ("queued", "decode", 2)
    runner.run(job.id)
    runner.run(job.id)
    assert ledger.get(job.id).state == "succeeded"


def test_a_blob_that_is_gone_fails_its_job_with_a_sentence(
    runner: Runner, ledger: Ledger, files: Files, engine: FakeTranscriber
) -> None:
    job = submit(ledger, files, spoken(1))
    files.drop_blob(job.payload["source"]["blob"])
    runner.run(job.id)
    failed = ledger.get(job.id)
    assert failed.state == "failed" and failed.error and failed.error["code"] == "unknown_blob"


def test_a_text_file_named_wav_fails_with_its_own_code(
    runner: Runner, ledger: Ledger, files: Files, engine: FakeTranscriber
) -> None:
    blob = files.put_blob(io.BytesIO(b"these are words, not sounds\n" * 100))
    payload = {"source": {"blob": blob.id, "name": "a.wav"}, "model": "m"}
    job = ledger.create(NewJob(kind="stt", payload=payload, owner="ana", priority="interactive"))
    runner.run(job.id)
    failed = ledger.get(job.id)
    assert failed.state == "failed" and failed.error
    assert (failed.error["code"], failed.error["status"]) == ("not_audio", 415)


def test_a_file_that_crashes_the_decoder_fails_its_job_at_once_and_the_next_is_done(
    runner: Runner,
    ledger: Ledger,
    files: Files,
    engine: FakeTranscriber,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    crashing = broken(monkeypatch, tmp_path, "import ctypes; ctypes.string_at(0)")
    monkeypatch.setattr("workers.kinds.stt.decoder_of", lambda settings: crashing)
    payload = {"source": {"blob": files.put_blob(io.BytesIO(b"BAD")).id, "name": "a.wav"}, "model": "m"}
    bad = ledger.create(NewJob(kind="stt", payload=payload, owner="ana", priority="interactive"))
    good = submit(ledger, files, spoken(1))
    for job in (bad, good, good):
        runner.run(job.id)
    failed = ledger.get(bad.id)
    assert failed.state == "failed" and failed.attempt == 1
    assert failed.error and failed.error["code"] == "decoder_crashed" and "SIGSEGV" in failed.error["detail"]
    assert transcript_of(ledger, files, good).text
    crashing.close()


def test_a_long_result_stands_in_a_file(
    runner: Runner, ledger: Ledger, files: Files, engine: FakeTranscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.windows.INLINE_BYTES", 10)
    job = submit(ledger, files, spoken(1))
    runner.run(job.id)
    runner.run(job.id)
    done = ledger.get(job.id)
    assert done.result is None and done.result_file == f"results/{job.id}/{done.fence}.json"
    assert transcript_of(ledger, files, job).segments
    assert not (Path(files.root) / "incoming").exists() or not any((Path(files.root) / "incoming").iterdir())


def submit_call(ledger: Ledger, files: Files, model: str) -> Job:
    """Two people who talk at once, one on each channel."""
    with TWO_AT_ONCE.open("rb") as file:
        blob = files.put_blob(file)
    source = {"blob": blob.id, "name": "call.ogg"}
    payload = {"source": source, "model": model, "channels": "separate", "language": "mg"}
    return ledger.create(NewJob(kind="stt", payload=payload, owner="ana", priority="interactive"))


def test_both_sides_of_a_call_are_understood_though_they_talk_at_once(
    runner: Runner, ledger: Ledger, files: Files
) -> None:
    job = submit_call(ledger, files, "milo-tiny-mg")
    runner.run(job.id)
    assert ledger.get(job.id).audio_s == pytest.approx(3.0, abs=0.01)
    runner.run(job.id)
    result = transcript_of(ledger, files, job)
    said = {(segment.channel, segment.speaker, segment.text) for segment in result.segments}
    assert said == {
        (0, "A", "Mitady lavanila ny vahiny."),
        (1, "B", "Isaky ny alarobia no misy tsena any Toamasina."),
    }
    assert all(segment.text in result.text for segment in result.segments)
    assert (result.language, result.warnings) == ("mg", []) and result.duration == pytest.approx(3.0, abs=0.01)
    assert result.speech_s > 3.0, "both speak most of the time"


def test_a_call_that_gives_way_goes_on_where_it_was_on_either_channel(
    settings: Settings, ledger: Ledger, files: Files, engine: FakeTranscriber
) -> None:
    job = submit_call(ledger, files, "m")
    runner = Runner(settings.model_copy(update={"slice_s": 0, "batch_windows": 1}), ledger, files, "w/0")
    runner.run(job.id)
    while not ledger.get(job.id).final:
        runner.run(job.id)
    result = transcript_of(ledger, files, job)
    assert [segment.id for segment in result.segments] == list(range(sum(engine.calls)))
    assert {segment.speaker for segment in result.segments} == {"A", "B"}
