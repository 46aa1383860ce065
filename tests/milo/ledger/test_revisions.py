"""The journal of edits, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import delete, func, select

from milo.errors import Conflict, Invalid, NotFound
from milo.jobs import Job, NewJob
from milo.ledger import Ledger, revisions
from milo.ledger.database import reading, writing
from milo.ledger.kept_texts import KeptText, KeptTexts
from milo.ledger.revisions import NotNewest, Revisions
from milo.ledger.schema import jobs
from milo.ledger.schema import revisions as rows
from milo.settings import Settings
from milo.transcription.transcript import Transcript
from tests.milo.transcription.test_edits import READ, spoken

SAID = spoken("salama tompoko", "inona no vaovao", "tsy misy")


@pytest.fixture
def ledger(each_database: Settings) -> Iterator[Ledger]:
    opened = Ledger.open(each_database)
    yield opened
    opened.engine.dispose()


def made(ledger: Ledger, said: Transcript = SAID) -> Job:
    new = NewJob(kind="stt", payload={"source": {"path": "/a"}, "model": "m"}, owner="ana", priority="batch")
    claim = ledger.claim(ledger.create(new).id, "w")
    assert claim
    return ledger.finish(claim, said.model_dump())


def journal(ledger: Ledger) -> Revisions:
    return Revisions(ledger, lambda job: Transcript.model_validate(job.result))


def put(ledger: Ledger, job_id: str, text: str, segment: int = 0) -> None:
    job = ledger.get(job_id)
    journal(ledger).edit(
        job, job.revision, "ana", READ.validate_python([{"op": "text", "segment": segment, "text": text}])
    )


def go(ledger: Ledger, job_id: str, action: Any, to: int | None = None) -> None:
    job = ledger.get(job_id)
    journal(ledger).go_back(job, job.revision, "ana", action, to)


def first(ledger: Ledger, job_id: str, number: int | None = None) -> str:
    return journal(ledger).transcript(ledger.get(job_id), number).segments[0].text


def test_every_state_comes_back_and_the_machines_text_is_never_touched(ledger: Ledger) -> None:
    job = made(ledger)
    for text in ("iray", "roa", "telo"):
        put(ledger, job.id, text)
    assert [first(ledger, job.id, n) for n in range(4)] == ["salama tompoko", "iray", "roa", "telo"]
    go(ledger, job.id, "restore", 0)
    assert journal(ledger).transcript(ledger.get(job.id)).model_copy(update={"revision": 0}) == SAID
    assert ledger.get(job.id).result == SAID.model_dump() and ledger.get(job.id).revision == 4


def test_undo_and_redo_walk_as_in_an_editor(ledger: Ledger) -> None:
    job = made(ledger)
    seen = []
    for step in ("a", "b", "undo", "undo", "redo", "redo", "undo", "c", "undo", "undo", "restore 2", "undo"):
        if len(step) == 1:
            put(ledger, job.id, step)
        elif step.startswith("restore"):
            go(ledger, job.id, "restore", 2)
        else:
            go(ledger, job.id, step)
        seen.append(first(ledger, job.id))
    machine = SAID.segments[0].text
    assert seen == ["a", "b", "a", machine, "a", "b", "a", "c", "a", machine, "b", machine]
    with pytest.raises(Conflict, match="nothing to undo"):
        go(ledger, job.id, "undo")


def test_an_edit_of_an_old_revision_changes_nothing(ledger: Ledger) -> None:
    job = made(ledger)
    put(ledger, job.id, "iray")
    with pytest.raises(NotNewest) as caught:  # as it was read before the other one wrote
        journal(ledger).edit(job, 0, "bob", READ.validate_python([{"op": "delete", "segment": 0}]))
    assert caught.value.newest == 1 and first(ledger, job.id) == "iray"
    with pytest.raises(Invalid, match="nothing would change"):
        put(ledger, job.id, "iray")
    with pytest.raises(NotFound):
        go(ledger, job.id, "restore", 7)


def test_ids_of_segments_are_never_used_twice(ledger: Ledger) -> None:
    job = made(ledger)
    split = READ.validate_python([{"op": "split", "segment": 0, "word": 1}])
    journal(ledger).edit(ledger.get(job.id), 0, "ana", split)
    go(ledger, job.id, "undo")
    journal(ledger).edit(ledger.get(job.id), 2, "ana", split)
    assert [s.id for s in journal(ledger).transcript(ledger.get(job.id)).segments] == [0, 4, 1, 2]


def test_a_snapshot_shortens_the_replay_and_changes_nothing(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revisions, "SNAPSHOT_EVERY", 3)
    job = made(ledger)
    for number in range(1, 9):
        put(ledger, job.id, f"teny {number}", segment=number % 3)
    with reading(ledger.engine) as connection:
        kept = connection.execute(select(rows.c.number).where(rows.c.snapshot.is_not(None)).order_by(rows.c.number))
        assert list(kept.scalars()) == [3, 6]
    texts = [s.text for s in journal(ledger).transcript(ledger.get(job.id), 7).segments]
    assert texts == ["teny 6", "teny 7", "teny 5"]


def test_the_journal_goes_with_its_job(ledger: Ledger) -> None:
    job = made(ledger)
    put(ledger, job.id, "iray")
    with writing(ledger.engine) as tx:
        tx.execute(delete(jobs).where(jobs.c.id == job.id))
        assert tx.execute(select(func.count()).select_from(rows)).scalar() == 0


def test_an_edit_reads_the_machines_text_once_and_says_what_the_journal_says(ledger: Ledger) -> None:
    job = made(ledger)
    read = 0

    def machine_text(job: Job) -> Transcript:
        nonlocal read
        read += 1
        return Transcript.model_validate(job.result)

    mine = Revisions(ledger, machine_text, kept=KeptTexts())
    put(ledger, job.id, "iray")
    for step in ("split", "merge", "undo", "undo", "redo", "rename", "undo", "undo", "undo"):
        job = ledger.get(job.id)
        if step in ("undo", "redo"):
            mine.go_back(job, job.revision, "ana", step)  # type: ignore[arg-type]
        else:
            what: dict[str, dict[str, Any]] = {"rename": {"op": "speaker", "segments": [0, 1], "speaker": "Bao"}}
            what |= {"split": {"op": "split", "segment": 1, "word": 1}, "merge": {"op": "merge", "segment": 1}}
            mine.edit(job, job.revision, "ana", READ.validate_python([what[step]]))
        job = ledger.get(job.id)
        assert mine.transcript(job) == journal(ledger).transcript(job), step
    assert read == 1 and mine.transcript(job).model_copy(update={"revision": 0}) == SAID
    put(ledger, job.id, "roa")  # by another process
    job = ledger.get(job.id)
    assert mine.transcript(job) == journal(ledger).transcript(job) and read == 1


def test_the_texts_used_last_are_kept_and_no_older_revision_takes_their_place() -> None:
    kept = KeptTexts(max_words=10)
    two = spoken("iray roa telo efatra").model_copy(update={"revision": 2})
    texts = {name: KeptText(two, "") for name in "abc"}
    for name, text in texts.items():
        kept.put(name, text)
        kept.get("a")
    assert [name for name in "abc" if kept.get(name)] == ["a", "c"]
    kept.put("a", KeptText(spoken("taloha"), ""))
    assert kept.get("a") == texts["a"]
