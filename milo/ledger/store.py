"""What every part of the ledger stands on: rows to jobs, the fenced change of one row, what a final state settles."""

from __future__ import annotations

import hashlib
import json
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Executable,
    Row,
    bindparam,
    case,
    false,
    func,
    or_,
    select,
    update,
)

from milo import metrics
from milo.errors import Conflict, NotFound
from milo.jobs import FINAL, Batch, Job, Progress, iso
from milo.kinds import KINDS
from milo.ledger import outbox
from milo.ledger.clock import ClockSteps
from milo.ledger.schema import batches, jobs
from milo.settings import Settings

SCHEMA_VERSION = 1
AT_ONCE = 500
"""Rows that one sweep takes up."""
LONGEST_WAIT_S = 600.0
"""No retry is planned further ahead: a due time beyond it was written before the clock was set back."""
CLOCK_SLACK_S = 60.0
"""A lease that ends this much later than one given now was written before the clock was set back."""


Changes = dict[str, object]
"""Column -> its new value, or the SQL expression for it."""


@dataclass(frozen=True)
class Claim:
    """The right of one worker to change one running job, until the lease ends or `fence` is outdated."""

    job: Job
    fence: int
    worker: str


class Store:
    """The database of the ledger.

    `notify` gets the ids that changed, after each commit; it must not raise. `clock` is unix seconds.
    """

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        notify: Callable[[Sequence[str]], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.engine = engine
        self.settings = settings
        self.notify = notify or (lambda ids: None)
        self.clock = clock
        self.steps = ClockSteps(settings.home / "run" / f"clock-{socket.gethostname()}.note")
        self._queued: dict[str, tuple[float, int, float]] = {}
        self._computed: dict[str, tuple[float, float]] = {}

    def move(self, tx: Connection, where: Sequence[ColumnElement[bool]], values: Changes) -> Job | None:
        """Change one row; on a final state also its batch's count and the outbox."""
        values = self._with_end(values) | {"version": jobs.c.version + 1}
        return self._moved(tx, tx.execute(update(jobs).where(*where).values(values).returning(jobs)).one_or_none())

    def move_claimed(
        self, tx: Connection, claim: Claim, values: Changes, *, unless_cancelled: bool = False
    ) -> Job | None:
        """The same for a running row by its worker: `values` are no expressions, for the statement is made once."""
        values = self._with_end(values)
        given = {f"new_{name}": value for name, value in values.items()}
        statement = _changing_claimed(tuple(values), unless_cancelled)
        row = tx.execute(statement, {"claimed_id": claim.job.id, "claimed_by": claim.fence, **given}).one_or_none()
        return self._moved(tx, row)

    def _with_end(self, values: Changes) -> Changes:
        if values["state"] not in FINAL:
            return values
        return values | {"finished_at": self.clock(), "worker": None, "lease_expires_at": None, "due_at": None}

    def _moved(self, tx: Connection, row: Row[Any] | None) -> Job | None:
        if row is None:
            return None
        job = job_from(row)
        if job.final:
            self._settle(tx, job)
        return job

    def _settle(self, tx: Connection, job: Job) -> None:
        now = self.clock()
        if job.callback_url:
            outbox.add(tx, job.owner, job.callback_url, f"job.{job.state}", webhook_data(job), now, job_id=job.id)
        if job.batch_id:
            self.settle_batch(tx, job.batch_id, 1)

    def settle_batch(self, tx: Connection, batch_id: str, ended: int) -> None:
        """Count `ended` jobs of the batch off; with the last one, the batch has finished."""
        now = self.clock()
        row = tx.execute(
            update(batches)
            .where(batches.c.id == batch_id)
            .values(remaining=batches.c.remaining - ended)
            .returning(batches.c.remaining)
        ).one()
        if row.remaining == 0:
            tx.execute(update(batches).where(batches.c.id == batch_id).values(finished_at=now))
            batch = self.read_batch(tx, batch_id)
            if batch.callback_url:
                data = batch_data(batch)
                outbox.add(tx, batch.owner, batch.callback_url, "batch.finished", data, now, batch_id=batch.id)

    def read_batch(self, connection: Connection, batch_id: str) -> Batch:
        row = connection.execute(select(batches).where(batches.c.id == batch_id)).one_or_none()
        if row is None:
            raise NotFound(f"there is no batch {batch_id!r}", code="unknown_batch")
        part = select(
            jobs.c.state,
            func.count().label("n"),
            func.sum(jobs.c.audio_s).label("audio_s"),
            func.sum(case((jobs.c.state == "running", jobs.c.progress_done), else_=0)).label("running_s"),
            func.sum(jobs.c.version).label("version"),
        )
        states = connection.execute(part.where(jobs.c.batch_id == batch_id).group_by(jobs.c.state)).all()
        done = sum((s.audio_s or 0) if s.state in FINAL else (s.running_s or 0) for s in states)
        return Batch(
            **row._mapping,
            counts={s.state: s.n for s in states},
            audio_s=sum(s.audio_s or 0 for s in states),
            done_audio_s=done,
            version=sum(s.version for s in states),
        )

    def lease_ended(self, now: float) -> ColumnElement[bool]:
        """Running rows that nobody renews."""
        return lease_over(now, self.settings.lease_s) if self._leases_count() else false()

    def _leases_count(self) -> bool:
        """Not after a step of the clock, for one lease: in that time every worker that is alive has renewed by the new
        clock."""
        return not self.steps.within(self.settings.lease_s)

    def changed(self, changed: Iterable[Job]) -> None:
        changed = list(changed)
        for job in changed:
            if job.final:
                metrics.JOBS.labels(job.kind, job.state).inc()
        ids = {name for job in changed for name in (job.id, job.batch_id) if name}
        if ids:
            self.notify(sorted(ids))


Seconds = float | ColumnElement[float]
"""A number, or the parameter of a statement that is made once."""


def lease_over(now: Seconds, lease_s: Seconds) -> ColumnElement[bool]:
    """Leases that have ended, or that were written before the clock was set back."""
    return or_(jobs.c.lease_expires_at < now, jobs.c.lease_expires_at > now + lease_s + CLOCK_SLACK_S)


def is_due(now: Seconds) -> ColumnElement[bool]:
    """Rows whose time has come."""
    return or_(jobs.c.due_at.is_(None), jobs.c.due_at <= now, jobs.c.due_at > now + LONGEST_WAIT_S)


READABLE = jobs.c.schema_version <= SCHEMA_VERSION
"""Rows of a newer Milo are left to it: claiming or sweeping them would only fail, and hold up the others."""


def owned_by(claim: Claim) -> list[ColumnElement[bool]]:
    """The fenced condition of every change by a worker: the row runs, and by this very claim."""
    return [jobs.c.id == claim.job.id, jobs.c.state == "running", jobs.c.fence == claim.fence]


@lru_cache
def _changing_claimed(names: tuple[str, ...], unless_cancelled: bool) -> Executable:
    owned = [jobs.c.id == bindparam("claimed_id"), jobs.c.state == "running", jobs.c.fence == bindparam("claimed_by")]
    if unless_cancelled:
        owned.append(jobs.c.cancel_requested.is_(False))
    values = {name: bindparam(f"new_{name}", type_=jobs.c[name].type) for name in names}
    return update(jobs).where(*owned).values(values | {"version": jobs.c.version + 1}).returning(jobs)


def job_from(row: Row[Any]) -> Job:
    return job_of(row._asdict())


def job_of(row: Mapping[str, Any]) -> Job:
    if row["schema_version"] > SCHEMA_VERSION:
        raise Conflict(
            f"job {row['id']} was written by a newer Milo (record version {row['schema_version']}); upgrade this one",
            code="newer_record",
        )
    fields = {name: row[name] for name in Job.model_fields if name != "progress"}
    progress = Progress(done=row["progress_done"], total=row["progress_total"], unit=row["progress_unit"])
    return Job.model_construct(**fields, progress=progress)


def group_key(kind: str, payload: Mapping[str, Any]) -> str:
    """Equal for jobs that may share an engine batch: same kind, model and options, whatever the input."""
    options = {name: value for name, value in payload.items() if name not in KINDS[kind].inputs}
    return hashlib.sha256(json.dumps([kind, options], sort_keys=True).encode()).hexdigest()


def webhook_data(job: Job) -> dict[str, object]:
    """The `data` of a job's webhook: small, with a link to the result."""
    link = f"/api/v1/jobs/{job.id}"
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state,
        "batch_id": job.batch_id,
        "created_at": iso(job.created_at),
        "finished_at": iso(job.finished_at),
        "audio_s": job.audio_s,
        "error": job.error,
        "url": link,
        "result_url": f"{link}/result" if job.state == "succeeded" else None,
    }


def batch_data(batch: Batch) -> dict[str, object]:
    """The `data` of a batch's webhook."""
    link = f"/api/v1/batches/{batch.id}"
    return {
        "id": batch.id,
        "name": batch.name,
        "state": batch.state,
        "total": batch.total,
        "counts": batch.counts,
        "created_at": iso(batch.created_at),
        "finished_at": iso(batch.finished_at),
        "url": link,
        "results_url": f"{link}/results",
    }
