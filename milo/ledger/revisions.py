"""The edits of transcripts: a journal over the machine's text. The job's row counts them, and that count is the fence.

A revision says what changed against the one before it. Undo, redo and restore are revisions too: nothing is ever
removed from the journal, which goes when its job goes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Row, insert, select, update

from milo.errors import Conflict, Invalid, NotFound
from milo.jobs import Job
from milo.ledger.database import reading, writing
from milo.ledger.kept_texts import KeptText, KeptTexts
from milo.ledger.schema import jobs, revisions
from milo.ledger.store import Store, job_from
from milo.storage.files import Files
from milo.transcription.changes import Changes, difference, inverse, replay, with_segments
from milo.transcription.edits import Operation, edited
from milo.transcription.transcript import Segment, Transcript

Action = Literal["edit", "undo", "redo", "restore"]
SNAPSHOT_EVERY = 100
"""Revisions, up to a thousand segments; in proportion more of a longer transcript, whose snapshot costs more."""
MAX_REVISIONS = 100_000
_NO_CHANGE = "the transcript is that already: nothing would change"

OnChange = Callable[[Connection, Job, Transcript, Changes], None]
"""Told of every change within its transaction."""


@dataclass(frozen=True)
class Revision:
    """One entry of the journal, without what it changed."""

    job_id: str
    number: int
    action: Action
    state: int
    """The revision whose text this is: its own number, or that of one that came back; 0 is the machine's text."""
    author: str
    created_at: float
    request_key: str | None
    next_segment_id: int
    operations: list[dict[str, Any]]


_COLUMNS = [revisions.c[name] for name in Revision.__dataclass_fields__]


class NotNewest(Conflict):
    """The transcript has another newest revision than the one that the edit was made for."""

    code = "not_newest"

    def __init__(self, newest: int) -> None:
        super().__init__(f"the newest revision is {newest}")
        self.newest = newest


def result_of(files: Files, job: Job) -> dict[str, Any]:
    """The result document that a job made, from its row or its file. `NotFound` when it was cleaned away."""
    if job.result is None and job.result_file:
        loaded: dict[str, Any] = json.loads(files.read_result(job.result_file))
        return loaded
    return job.result or {}


def transcript_of(files: Files, job: Job) -> Transcript:
    """What the machine heard."""
    if job.result is None and job.result_file:
        return Transcript.model_validate_json(files.read_result(job.result_file))  # half the time of two steps
    return Transcript.model_validate(job.result or {})


class Revisions:
    """The journals of a ledger. `machine_text(job)` reads what the job made; `kept` is what one process remembers."""

    def __init__(
        self,
        ledger: Store,
        machine_text: Callable[[Job], Transcript],
        on_change: Sequence[OnChange] = (),
        kept: KeptTexts | None = None,
    ) -> None:
        self._ledger, self._machine_text, self._on_change = ledger, machine_text, on_change
        self._kept = KeptTexts() if kept is None else kept

    def transcript(self, job: Job, number: int | None = None) -> Transcript:
        """The text at a revision; None: the newest. Raises `NotFound` for one that is not there."""
        wanted = job.revision if number is None else number
        if not 0 <= wanted <= job.revision:
            raise NotFound(f"{job.id} has no revision {number}; the newest is {job.revision}", code="unknown_revision")
        if wanted == job.revision:
            return self._newest(job).transcript
        machine = self._machine_text(job)
        if wanted == 0:
            return machine
        with reading(self._ledger.engine) as connection:
            return _at(connection, machine, job.id, wanted)

    def _newest(self, job: Job) -> KeptText:
        """The text of the job's revision: the one in memory and what was changed since, or all from the beginning."""
        kept = self._kept.get(job.id)
        if kept is None or not 0 <= job.revision - kept.transcript.revision <= SNAPSHOT_EVERY:
            machine = self._machine_text(job)
            newest = machine
            if job.revision:
                with reading(self._ledger.engine) as connection:
                    newest = _at(connection, machine, job.id, job.revision)
            kept = KeptText(newest, machine.text)
        elif kept.transcript.revision == job.revision:
            return kept
        else:
            with reading(self._ledger.engine) as connection:
                segments, state = _replayed(
                    connection, kept.transcript.segments, job.id, kept.transcript.revision, job.revision
                )
            kept = _text(kept, segments, job.revision, state)
        self._kept.put(job.id, kept)
        return kept

    def journal(self, job_id: str, before: int | None = None, limit: int = 50) -> list[Revision]:
        """Newest first."""
        query = select(*_COLUMNS).where(revisions.c.job_id == job_id).order_by(revisions.c.number.desc())
        if before is not None:
            query = query.where(revisions.c.number < before)
        with reading(self._ledger.engine) as connection:
            return [_revision(row) for row in connection.execute(query.limit(limit))]

    def get(self, job_id: str, number: int) -> tuple[Revision, Changes]:
        """One revision and what it changed. Raises `NotFound`."""
        query = select(revisions).where(revisions.c.job_id == job_id, revisions.c.number == number)
        with reading(self._ledger.engine) as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise NotFound(f"{job_id} has no revision {number}", code="unknown_revision")
        return _revision(row), Changes.model_validate(row.changes)

    def by_request(self, job_id: str, request_key: str) -> Revision | None:
        """The revision that a request with this key has made already."""
        query = select(*_COLUMNS).where(revisions.c.job_id == job_id, revisions.c.request_key == request_key)
        with reading(self._ledger.engine) as connection:
            row = connection.execute(query.order_by(revisions.c.number).limit(1)).one_or_none()
        return _revision(row) if row else None

    def edit(
        self, job: Job, expected: int, author: str, operations: Sequence[Operation], request_key: str | None = None
    ) -> Revision:
        """Do the operations to revision `expected`, which must be the newest. Raises `NotNewest` where it is
        not, and `Invalid` for what can't be done."""
        before = self._expected(job, expected)
        next_id = self._next_id(job, before.transcript)
        after, next_id = edited(before.transcript, operations, next_id)
        changes = difference(before.transcript.segments, after)
        if changes.is_empty:
            raise Invalid(_NO_CHANGE, code="no_change")
        said = [operation.model_dump(mode="json") for operation in operations]
        new = self._new(job, "edit", expected + 1, author, next_id, said, request_key)
        return self._append(job, before, new, changes, after)

    def go_back(
        self,
        job: Job,
        expected: int,
        author: str,
        action: Literal["undo", "redo", "restore"],
        to: int | None = None,
        request_key: str | None = None,
    ) -> Revision:
        """Undo the newest edit, redo what was undone last, or restore the text of revision `to`. Raises as `edit`, and
        `Conflict` where there is nothing to undo or redo."""
        before = self._expected(job, expected)
        state = to if action == "restore" else self._state_after(job, action)
        if state is None or not 0 <= state <= expected:
            raise NotFound(f"{job.id} has no revision {to}; the newest is {expected}", code="unknown_revision")
        after = self._step(job, before.transcript.segments, state) or self.transcript(job, state).segments
        changes = difference(before.transcript.segments, after)
        if action == "restore" and changes.is_empty:
            raise Invalid(_NO_CHANGE, code="no_change")
        new = self._new(job, action, state, author, self._next_id(job, before.transcript), [], request_key)
        return self._append(job, before, new, changes, after)

    def _step(self, job: Job, newest: Sequence[Segment], to: int) -> list[Segment] | None:
        """The segments of state `to` where one edit lies between it and the newest text, as for undo and redo."""
        with reading(self._ledger.engine) as connection:
            now = _state(connection, job.id, job.revision)
            if now and to == _state(connection, job.id, now - 1):
                return replay(newest, inverse(_changes(connection, job.id, now)))
            if to and now == _state(connection, job.id, to - 1):
                return replay(newest, _changes(connection, job.id, to))
        return None

    def _expected(self, job: Job, expected: int) -> KeptText:
        if job.revision != expected:
            raise NotNewest(job.revision)
        if expected >= MAX_REVISIONS:
            raise Conflict(f"{job.id} has {expected} revisions, the most that are kept", code="too_many_revisions")
        return self._newest(job)

    def _next_id(self, job: Job, newest: Transcript) -> int:
        if job.revision:
            return self.journal(job.id, limit=1)[0].next_segment_id
        return max((segment.id for segment in newest.segments), default=-1) + 1

    def _state_after(self, job: Job, action: str) -> int:
        """The state that an undo or a redo leads to: what an editor's two stacks would hold after this journal."""
        query = select(revisions.c.action, revisions.c.state).where(revisions.c.job_id == job.id)
        with reading(self._ledger.engine) as connection:
            journal = connection.execute(query.order_by(revisions.c.number)).all()
        done, undone = [0], []
        for row in journal:
            if row.action == "undo":
                undone.append(done.pop())
            elif row.action == "redo":
                done.append(undone.pop())
            else:
                done.append(row.state)
                undone.clear()
        if action == "undo" and len(done) > 1:
            return done[-2]
        if action == "redo" and undone:
            return undone[-1]
        raise Conflict(f"there is nothing to {action}", code=f"nothing_to_{action}")

    def _new(
        self,
        job: Job,
        action: Action,
        state: int,
        author: str,
        next_id: int,
        operations: list[dict[str, Any]],
        request_key: str | None,
    ) -> Revision:
        now = self._ledger.clock()
        return Revision(job.id, job.revision + 1, action, state, author, now, request_key, next_id, operations)

    def _append(
        self, job: Job, before: KeptText, new: Revision, changes: Changes, after: Sequence[Segment]
    ) -> Revision:
        row = {name: getattr(new, name) for name in Revision.__dataclass_fields__}
        row["changes"] = changes.model_dump(mode="json")
        due = new.number % (SNAPSHOT_EVERY * max(1, len(after) // 1000)) == 0
        row["snapshot"] = [segment.model_dump(mode="json") for segment in after] if due else None
        mine = (jobs.c.id == job.id, jobs.c.state == "succeeded", jobs.c.revision == new.number - 1)
        with writing(self._ledger.engine) as tx:
            counted = update(jobs).where(*mine).values(revision=new.number, version=jobs.c.version + 1).returning(jobs)
            moved = tx.execute(counted).one_or_none()
            if moved is None:
                there = tx.execute(select(jobs.c.revision).where(jobs.c.id == job.id)).scalar()
                if there is None:
                    raise NotFound(f"there is no job {job.id!r} any more", code="unknown_job")
                raise NotNewest(there)
            tx.execute(insert(revisions), row)
            changed = job_from(moved)
            newest = _text(before, after, new.number, new.state)
            for tell in self._on_change:
                tell(tx, changed, newest.transcript, changes)
        self._kept.put(job.id, newest)
        self._ledger.changed([changed])
        return new


def _revision(row: Row[Any]) -> Revision:
    return Revision(**{name: row._mapping[name] for name in Revision.__dataclass_fields__})


def _state(connection: Connection, job_id: str, number: int) -> int:
    """The state of a revision; that of 0 is the machine's text."""
    query = select(revisions.c.state).where(revisions.c.job_id == job_id, revisions.c.number == number)
    return connection.execute(query).scalar() or 0


def _changes(connection: Connection, job_id: str, number: int) -> Changes:
    query = select(revisions.c.changes).where(revisions.c.job_id == job_id, revisions.c.number == number)
    return Changes.model_validate(connection.execute(query).scalar_one())


def _text(kept: KeptText, segments: Sequence[Segment], number: int, state: int) -> KeptText:
    """The text of a later revision."""
    made = with_segments(kept.transcript, segments, number)
    return KeptText(made if state else made.model_copy(update={"text": kept.machine_text}), kept.machine_text)


def _at(connection: Connection, machine: Transcript, job_id: str, wanted: int) -> Transcript:
    """The machine's text, or the last snapshot before the revision, and what was changed since."""
    mine = (revisions.c.job_id == job_id, revisions.c.number <= wanted, revisions.c.number % SNAPSHOT_EVERY == 0)
    kept = select(revisions.c.number, revisions.c.snapshot).where(*mine, revisions.c.snapshot.is_not(None))
    snapshot = connection.execute(kept.order_by(revisions.c.number.desc()).limit(1)).one_or_none()
    segments: Sequence[Segment] = machine.segments
    after = 0
    if snapshot is not None:
        after, segments = snapshot.number, [Segment.model_validate(one) for one in snapshot.snapshot]
    segments, state = _replayed(connection, segments, job_id, after, wanted)
    return _text(KeptText(machine, machine.text), segments, wanted, state).transcript


def _replayed(
    connection: Connection, segments: Sequence[Segment], job_id: str, after: int, wanted: int
) -> tuple[Sequence[Segment], int]:
    """The segments after the revisions behind `after`, up to `wanted`; and the state of that one."""
    mine = (revisions.c.job_id == job_id, revisions.c.number > after, revisions.c.number <= wanted)
    rows = connection.execute(select(revisions.c.changes, revisions.c.state).where(*mine).order_by(revisions.c.number))
    state = wanted
    for row in rows:
        segments, state = replay(segments, Changes.model_validate(row.changes)), row.state
    return segments, state
