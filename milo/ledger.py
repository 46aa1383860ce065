"""The job rows, and every legal change of them. A Celery message is only a wake-up; these rows are the truth.

Each method is one transaction. A worker's right to change a running job is its fence: `claim` hands out a number that
grows with every claim, and a change that carries an old one raises `LeaseLost`, so a worker that was thought dead and
comes back can't publish anything. State, result and outgoing webhook are written together, or not at all.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, and_, case, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from milo import outbox
from milo.database import connect, reading, upgrade, writing
from milo.errors import Conflict, Invalid, LeaseLost, MiloError, NotFound, TooMany
from milo.jobs import FINAL, KINDS, Batch, Job, NewJob, Progress, State, iso, new_id, queue_for
from milo.schema import batches, idempotency, jobs
from milo.settings import Settings

SCHEMA_VERSION = 1
MESSAGE_LIMIT = 500
QUOTA_CACHE_S = 2.0


@dataclass(frozen=True)
class Claim:
    """The right of one worker to change one running job, until the lease ends or `fence` is outdated."""

    job: Job
    fence: int
    worker: str


@dataclass
class Renewal:
    """What a renewal found out."""

    cancelled: list[str] = field(default_factory=list)
    """Ids of jobs that somebody wants cancelled."""
    lost: list[str] = field(default_factory=list)
    """Ids of jobs that belong to another attempt now."""


class Ledger:
    """All jobs of an installation.

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
        self._notify = notify or (lambda ids: None)
        self._clock = clock
        self._queued: dict[str, tuple[float, int]] = {}

    @classmethod
    def open(cls, settings: Settings, notify: Callable[[Sequence[str]], None] | None = None) -> Ledger:
        """Connect, and bring the schema up to date."""
        settings.home.mkdir(parents=True, exist_ok=True)
        engine = connect(settings.ledger_url)
        upgrade(engine, settings)
        return cls(engine, settings, notify)

    # --- create ---------------------------------------------------------------------------------------------------

    def create(self, new: NewJob) -> Job:
        """Write one job. With an idempotency key that was used before: the job of the first time."""
        return self._create([new], None)[0]

    def create_batch(self, batch: Batch, items: Sequence[NewJob], fingerprint: str | None = None) -> Batch:
        """Write a batch and its jobs in one transaction; idempotent as `create`."""
        made = self._create(items, batch, fingerprint)
        return self.batch(made[0].batch_id or batch.id)

    def _create(self, items: Sequence[NewJob], batch: Batch | None, fingerprint: str | None = None) -> list[Job]:
        first = items[0]
        key = batch.idempotency_key if batch else first.idempotency_key
        print_ = fingerprint if batch else first.fingerprint
        rows = [self._row(item) for item in items]
        try:
            with writing(self.engine) as tx:
                if key and (known := self._known(tx, first.owner, key, print_)):
                    return known
                self._check_quota(tx, first.owner, len(items))
                if batch:
                    fields = batch.model_dump(include=set(batches.c.keys()))
                    tx.execute(insert(batches), fields)
                tx.execute(insert(jobs), rows)
                if key:
                    entry = {"owner": first.owner, "key": key, "fingerprint": print_ or "", "created_at": self._clock()}
                    where = {"batch_id": batch.id} if batch else {"job_id": rows[0]["id"]}
                    tx.execute(insert(idempotency), entry | where)
        except IntegrityError:
            if not key:
                raise
            with reading(self.engine) as connection:  # two first requests at once: the other one won
                known = self._known(connection, first.owner, key, print_)
            if not known:
                raise
            return known
        ids = [row["id"] for row in rows]
        self._notify(ids if not batch else [batch.id])
        return [_job_of(row) for row in rows]

    def _row(self, new: NewJob) -> dict[str, Any]:
        kind = KINDS[new.kind]
        stage = new.stage or kind.stages[0][0]
        now = self._clock()
        fields = new.model_dump(exclude={"stage", "fingerprint"})
        return (
            dict.fromkeys(column.name for column in jobs.c)
            | fields
            | {
                "id": new_id("job"),
                "state": "queued",
                "stage": stage,
                "queue": queue_for(new.kind, stage, new.priority),
                "group_key": group_key(new.kind, new.payload),
                "progress_done": 0,
                "progress_unit": "items",
                "attempt": 1,
                "fence": 0,
                "slices": 0,
                "version": 1,
                "cancel_requested": False,
                "created_at": now,
                "published_at": now,  # about to be; if that fails, `unpublished` finds the row
                "compute_s": 0,
                "models": {},
                "schema_version": SCHEMA_VERSION,
            }
        )

    def _known(self, tx: Connection, owner: str, key: str, fingerprint: str | None) -> list[Job]:
        row = tx.execute(
            select(idempotency).where(idempotency.c.owner == owner, idempotency.c.key == key)
        ).one_or_none()
        if row is None:
            return []
        if row.fingerprint != (fingerprint or ""):
            raise Invalid(
                f"the Idempotency-Key {key!r} was used for a different request; use a new key for a new request",
                code="idempotency_mismatch",
            )
        where = jobs.c.id == row.job_id if row.job_id else jobs.c.batch_id == row.batch_id
        return [_job(found) for found in tx.execute(select(jobs).where(where).limit(1))]

    def known(self, owner: str, key: str, fingerprint: str) -> Job | None:
        """The job (or the first of the batch) that this idempotency key made; `Invalid` if the request differs."""
        with reading(self.engine) as connection:
            found = self._known(connection, owner, key, fingerprint)
        return found[0] if found else None

    def _check_quota(self, tx: Connection, owner: str, more: int) -> None:
        """Count the owner's queue at most once in `QUOTA_CACHE_S`: the cost of a create stays flat under a backlog."""
        limit, now = self.settings.max_queued_jobs, self._clock()
        counted_at, queued = self._queued.get(owner, (0.0, 0))
        if not 0 <= now - counted_at < QUOTA_CACHE_S:
            mine = select(func.count()).where(jobs.c.owner == owner, jobs.c.state == "queued")
            counted_at, queued = now, tx.execute(mine).scalar_one()
        if queued + more > limit:
            raise TooMany(
                f"{queued} jobs of this key are queued, and {limit} is the most: wait until some are done",
                code="queue_full",
                retry_after_s=30,
            )
        self._queued[owner] = (counted_at, queued + more)

    # --- the life of a job ----------------------------------------------------------------------------------------

    def claim(self, job_id: str, worker: str) -> Claim | None:
        """Take a queued job, or a running one whose lease ran out. None: there is nothing to do for this message."""
        found = self._claim(jobs.c.id == job_id, worker)
        return found[0] if found else None

    def claim_like(self, job: Job, worker: str, most: int) -> list[Claim]:
        """Take up to `most` further queued jobs that may share an engine batch with `job`, the oldest first.

        Only first attempts: a job that has already killed a worker runs alone, and its neighbours stay unharmed.
        """
        key = group_key(job.kind, job.payload)
        now = self._clock()
        oldest = (
            select(jobs.c.id)
            .where(jobs.c.queue == job.queue, jobs.c.state == "queued", jobs.c.stage == job.stage)
            .where(jobs.c.group_key == key, jobs.c.attempt == 1, or_(jobs.c.due_at.is_(None), jobs.c.due_at <= now))
            .order_by(jobs.c.published_at)
            .limit(most)
        )
        return self._claim(jobs.c.id.in_(oldest), worker)

    def _claim(self, which: Any, worker: str) -> list[Claim]:
        now = self._clock()
        expired = and_(jobs.c.state == "running", jobs.c.lease_expires_at < now, jobs.c.attempt < jobs.c.max_attempts)
        ready = and_(jobs.c.state == "queued", or_(jobs.c.due_at.is_(None), jobs.c.due_at <= now))
        statement = (
            update(jobs)
            .where(which, or_(ready, expired), jobs.c.cancel_requested.is_(False))
            .values(
                state="running",
                attempt=case((jobs.c.state == "running", jobs.c.attempt + 1), else_=jobs.c.attempt),
                fence=jobs.c.fence + 1,
                version=jobs.c.version + 1,
                worker=worker,
                lease_expires_at=now + self.settings.lease_s,
                started_at=func.coalesce(jobs.c.started_at, now),
                due_at=None,
            )
            .returning(jobs)
        )
        with writing(self.engine) as tx:
            taken = [_job(row) for row in tx.execute(statement)]
        self._changed(taken)
        return [Claim(job, job.fence, worker) for job in sorted(taken, key=lambda job: job.id)]

    def renew(self, claims: Iterable[Claim], progress: Mapping[str, Progress] | None = None) -> Renewal:
        """Extend the leases, publish progress, and learn which jobs were cancelled or lost."""
        result = Renewal()
        known: list[Job] = []
        moved = progress or {}
        with writing(self.engine) as tx:
            for claim in claims:
                values: dict[str, Any] = {"lease_expires_at": self._clock() + self.settings.lease_s}
                if step := moved.get(claim.job.id):
                    values |= {"progress_done": step.done, "progress_total": step.total, "progress_unit": step.unit}
                    values["version"] = jobs.c.version + 1
                row = tx.execute(update(jobs).where(*_held(claim)).values(values).returning(jobs)).one_or_none()
                if row is None:
                    result.lost.append(claim.job.id)
                    continue
                if step:
                    known.append(_job(row))
                if row.cancel_requested:
                    result.cancelled.append(claim.job.id)
        self._changed(known)
        return result

    def release(
        self,
        claim: Claim,
        *,
        stage: str | None = None,
        audio_s: float | None = None,
        compute_s: float = 0,
        due_in_s: float | None = None,
        retry: bool = False,
        progress: Progress | None = None,
    ) -> Job:
        """Give the job back to the queue: a slice ended, the next stage follows, or (`retry`) another attempt does."""
        now = self._clock()
        job = claim.job
        values: dict[str, Any] = {
            "state": "queued",
            "worker": None,
            "lease_expires_at": None,
            "slices": jobs.c.slices + 1,
            "attempt": jobs.c.attempt + (1 if retry else 0),
            "compute_s": jobs.c.compute_s + compute_s,
            "due_at": None if due_in_s is None else now + due_in_s,
            "published_at": now if due_in_s is None else None,
        }
        if stage:
            values |= {"stage": stage, "queue": queue_for(job.kind, stage, job.priority), "attempt": 1}
        if audio_s is not None:
            values["audio_s"] = audio_s
        if progress:
            values |= {"progress_done": progress.done, "progress_total": progress.total, "progress_unit": progress.unit}
        return self._end(claim, values)

    def finish(
        self,
        claim: Claim,
        result: dict[str, Any] | None = None,
        *,
        result_file: str | None = None,
        audio_s: float | None = None,
        compute_s: float = 0,
        models: dict[str, str] | None = None,
        progress: Progress | None = None,
    ) -> Job:
        """The job is done: state, result and webhook in one transaction."""
        values: dict[str, Any] = {
            "state": "succeeded",
            "result": result,
            "result_file": result_file,
            "models": models or {},
            "compute_s": jobs.c.compute_s + compute_s,
            "error": None,
        }
        if audio_s is not None:
            values["audio_s"] = audio_s
        if progress:
            values |= {"progress_done": progress.done, "progress_total": progress.total, "progress_unit": progress.unit}
        return self._end(claim, values)

    def fail(self, claim: Claim, error: MiloError) -> Job:
        """The job is done for: it failed, with the problem document that says why."""
        return self._end(claim, {"state": "failed", "error": error.problem(f"/api/v1/jobs/{claim.job.id}")})

    def cancelled(self, claim: Claim) -> Job:
        """The worker has stopped the job that somebody cancelled."""
        return self._end(claim, {"state": "cancelled"})

    def _end(self, claim: Claim, values: dict[str, Any]) -> Job:
        with writing(self.engine) as tx:
            job = self._move(tx, _held(claim), values)
            if job is None:
                raise LeaseLost(f"job {claim.job.id}: fence {claim.fence} is outdated, another attempt owns it")
        self._changed([job])
        return job

    def _move(self, tx: Connection, where: Sequence[Any], values: dict[str, Any]) -> Job | None:
        """Change one row; on a final state also its batch's count and the outbox."""
        values = values | {"version": jobs.c.version + 1}
        final = values["state"] in FINAL
        if final:
            values |= {"finished_at": self._clock(), "worker": None, "lease_expires_at": None, "due_at": None}
        row = tx.execute(update(jobs).where(*where).values(values).returning(jobs)).one_or_none()
        if row is None:
            return None
        job = _job(row)
        if final:
            self._settle(tx, job)
        return job

    def _settle(self, tx: Connection, job: Job) -> None:
        now = self._clock()
        if job.callback_url:
            outbox.add(tx, job.owner, job.callback_url, f"job.{job.state}", webhook_data(job), now, job_id=job.id)
        if not job.batch_id:
            return
        row = tx.execute(
            update(batches)
            .where(batches.c.id == job.batch_id)
            .values(remaining=batches.c.remaining - 1)
            .returning(batches.c.remaining)
        ).one()
        if row.remaining == 0:
            tx.execute(update(batches).where(batches.c.id == job.batch_id).values(finished_at=now))
            batch = self._batch(tx, job.batch_id)
            if batch.callback_url:
                data = batch_data(batch)
                outbox.add(tx, batch.owner, batch.callback_url, "batch.finished", data, now, batch_id=batch.id)

    # --- by hand --------------------------------------------------------------------------------------------------

    def cancel(self, job_id: str) -> Job:
        """Cancel: at once when queued, at the next yield point when running. A job that has ended stays as it is."""
        with writing(self.engine) as tx:
            where = [jobs.c.id == job_id, jobs.c.state == "queued"]
            job = self._move(tx, where, {"state": "cancelled", "cancel_requested": True})
            if job is None:
                flag = {"cancel_requested": True, "version": jobs.c.version + 1}
                running = update(jobs).where(jobs.c.id == job_id, jobs.c.state == "running").values(flag)
                row = tx.execute(running.returning(jobs)).one_or_none()
                job = _job(row) if row else None
        if job is None:
            return self.get(job_id)
        self._changed([job])
        return job

    def cancel_batch(self, batch_id: str) -> Batch:
        """Cancel every job of the batch that has not ended."""
        with reading(self.engine) as connection:
            open_ = jobs.c.state.in_(("queued", "running"))
            ids = connection.execute(select(jobs.c.id).where(jobs.c.batch_id == batch_id, open_)).scalars().all()
        for start in range(0, len(ids), MESSAGE_LIMIT):
            with writing(self.engine) as tx:
                for job_id in ids[start : start + MESSAGE_LIMIT]:
                    where = [jobs.c.id == job_id, jobs.c.state == "queued"]
                    if self._move(tx, where, {"state": "cancelled", "cancel_requested": True}) is None:
                        flag = {"cancel_requested": True, "version": jobs.c.version + 1}
                        tx.execute(update(jobs).where(jobs.c.id == job_id, jobs.c.state == "running").values(flag))
        self._notify([batch_id])
        return self.batch(batch_id)

    def retry(self, job_id: str) -> Job:
        """Queue a failed or cancelled job again, from its last durable point. `Conflict` in any other state."""
        now = self._clock()
        with writing(self.engine) as tx:
            values = {
                "state": "queued",
                "attempt": 1,
                "cancel_requested": False,
                "error": None,
                "finished_at": None,
                "due_at": None,
                "published_at": now,
                "version": jobs.c.version + 1,
            }
            ended = jobs.c.state.in_(("failed", "cancelled"))
            row = tx.execute(
                update(jobs).where(jobs.c.id == job_id, ended).values(values).returning(jobs)
            ).one_or_none()
            if row is not None and row.batch_id:
                more = {"remaining": batches.c.remaining + 1, "finished_at": None}
                tx.execute(update(batches).where(batches.c.id == row.batch_id).values(more))
        if row is None:
            state = self.get(job_id).state
            raise Conflict(f"job {job_id} is {state}; only a failed or cancelled job can be tried again")
        job = _job(row)
        self._changed([job])
        return job

    # --- the reconciler -------------------------------------------------------------------------------------------

    def reap(self, worker: str | None = None) -> list[Job]:
        """Take back jobs whose lease ran out (or, when `worker` starts anew, those that its last life still holds).

        Returns those that are queued again; the others were out of attempts and failed as `worker_lost`, or were
        cancelled.
        """
        now = self._clock()
        gone = jobs.c.worker == worker if worker else jobs.c.lease_expires_at < now
        with reading(self.engine) as connection:
            rows = connection.execute(select(jobs).where(jobs.c.state == "running", gone).limit(MESSAGE_LIMIT)).all()
        queued = []
        for row in rows:
            with writing(self.engine) as tx:
                where = [jobs.c.id == row.id, jobs.c.state == "running", jobs.c.fence == row.fence, gone]
                moved = self._move(tx, where, self._after_loss(_job(row)))
            if moved:
                self._changed([moved])
                if moved.state == "queued":
                    queued.append(moved)
        return queued

    def _after_loss(self, job: Job) -> dict[str, Any]:
        if job.cancel_requested:
            return {"state": "cancelled"}
        if job.attempt >= job.max_attempts:
            error = MiloError(
                f"the worker {job.worker} died or hung {job.attempt} times while it ran this job; "
                "look at its input and the worker's log, then POST /retry",
                code="worker_lost",
            )
            return {"state": "failed", "error": error.problem(f"/api/v1/jobs/{job.id}")}
        again = {"state": "queued", "worker": None, "lease_expires_at": None, "published_at": self._clock()}
        return again | {"attempt": jobs.c.attempt + 1}

    def unpublished(self, depths: Mapping[str, int]) -> list[Job]:
        """Queued rows that no message will wake: due retries, and rows whose message was lost. Marks them published.

        A message was lost when its queue is empty (`depths`) and the row still waits, or when rows that were
        published later have been taken before it.
        """
        now = self._clock()
        grace = now - self.settings.lost_after_s
        found: list[Job] = []
        for queue, depth in depths.items():
            passed = grace
            if depth > 0:
                newest = [
                    select(func.max(jobs.c.published_at)).where(jobs.c.queue == queue, jobs.c.state == state)
                    for state in ("running", "succeeded", "failed")
                ]
                with reading(self.engine) as connection:
                    times = [connection.execute(query).scalar() for query in newest]
                passed = min(grace, max((t for t in times if t), default=0.0) - self.settings.lost_after_s)
            due = and_(jobs.c.published_at.is_(None), or_(jobs.c.due_at.is_(None), jobs.c.due_at <= now))
            stale = and_(jobs.c.published_at < passed, jobs.c.due_at.is_(None))
            which = select(jobs.c.id).where(jobs.c.queue == queue, jobs.c.state == "queued", or_(due, stale))
            which = which.order_by(jobs.c.published_at).limit(MESSAGE_LIMIT)
            with reading(self.engine) as connection:
                if connection.execute(which.limit(1)).first() is None:
                    continue
            again = update(jobs).where(jobs.c.id.in_(which)).values(published_at=now).returning(jobs)
            with writing(self.engine) as tx:
                found += [_job(row) for row in tx.execute(again)]
        return found

    # --- reading --------------------------------------------------------------------------------------------------

    def get(self, job_id: str, owner: str | None = None) -> Job:
        """One job; with `owner`, only if it is theirs. `NotFound` otherwise."""
        query = select(jobs).where(jobs.c.id == job_id)
        if owner is not None:
            query = query.where(jobs.c.owner == owner)
        with reading(self.engine) as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise NotFound(f"there is no job {job_id!r}", code="unknown_job")
        return _job(row)

    def jobs(
        self,
        *,
        owner: str | None = None,
        kind: str | None = None,
        state: State | None = None,
        batch_id: str | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> list[Job]:
        """Newest first, at most `limit`; `before` is the id to go on from."""
        query: Select[Any] = select(jobs).order_by(jobs.c.id.desc()).limit(limit)
        for column, value in ((jobs.c.owner, owner), (jobs.c.kind, kind), (jobs.c.state, state)):
            if value is not None:
                query = query.where(column == value)
        if batch_id is not None:
            query = query.where(jobs.c.batch_id == batch_id)
        if before is not None:
            query = query.where(jobs.c.id < before)
        with reading(self.engine) as connection:
            return [_job(row) for row in connection.execute(query)]

    def batch_jobs(self, batch_id: str, after: int = -1, limit: int = 500) -> list[Job]:
        """Jobs of a batch in the order they were given."""
        query = select(jobs).where(jobs.c.batch_id == batch_id, jobs.c.batch_index > after)
        with reading(self.engine) as connection:
            return [_job(row) for row in connection.execute(query.order_by(jobs.c.batch_index).limit(limit))]

    def batch(self, batch_id: str, owner: str | None = None) -> Batch:
        """One batch with its counts. `NotFound` if there is none (or it is another owner's)."""
        with reading(self.engine) as connection:
            batch = self._batch(connection, batch_id)
        if owner is not None and batch.owner != owner:
            raise NotFound(f"there is no batch {batch_id!r}", code="unknown_batch")
        return batch

    def batches(self, *, owner: str | None = None, before: str | None = None, limit: int = 50) -> Sequence[Batch]:
        """Newest first."""
        query = select(batches.c.id).order_by(batches.c.id.desc()).limit(limit)
        if owner is not None:
            query = query.where(batches.c.owner == owner)
        if before is not None:
            query = query.where(batches.c.id < before)
        with reading(self.engine) as connection:
            return [self._batch(connection, batch_id) for batch_id in connection.execute(query).scalars()]

    def _batch(self, connection: Connection, batch_id: str) -> Batch:
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

    def counts(self) -> dict[str, dict[str, int]]:
        """Jobs that have not ended: `{queue: {state: n}}`."""
        query = select(jobs.c.queue, jobs.c.state, func.count()).where(jobs.c.state.in_(("queued", "running")))
        result: dict[str, dict[str, int]] = {}
        with reading(self.engine) as connection:
            for queue, state, count in connection.execute(query.group_by(jobs.c.queue, jobs.c.state)):
                result.setdefault(queue, {})[state] = count
        return result

    def decoded_ahead_s(self) -> float:
        """Seconds of audio that archives have decoded and the GPU has not transcribed yet."""
        waiting = and_(jobs.c.queue == "gpu.batch", jobs.c.state.in_(("queued", "running")))
        with reading(self.engine) as connection:
            return float(connection.execute(select(func.sum(jobs.c.audio_s)).where(waiting)).scalar() or 0)

    def ahead(self, job: Job) -> int:
        """Jobs that will start before this queued one."""
        rank = [f"gpu.{p}" for p in ("realtime", "interactive", "batch", "background")]
        mine = f"gpu.{job.priority}"
        higher = rank[: rank.index(mine)]
        before = or_(
            jobs.c.queue.in_(higher),
            and_(jobs.c.queue == job.queue, jobs.c.published_at < (job.published_at or job.created_at)),
        )
        if job.queue != mine:  # still to be decoded: all that is decoded goes first
            before = or_(before, jobs.c.queue == mine)
        query = select(func.count()).select_from(jobs).where(jobs.c.state == "queued", before)
        with reading(self.engine) as connection:
            return int(connection.execute(query).scalar_one())

    def seconds_per_job(self, kind: str, sample: int = 50) -> float | None:
        """Mean compute seconds of the last finished jobs of a kind; None before the first."""
        last = (
            select(jobs.c.compute_s)
            .where(jobs.c.state == "succeeded", jobs.c.kind == kind)
            .order_by(jobs.c.finished_at.desc())
            .limit(sample)
            .subquery()
        )
        with reading(self.engine) as connection:
            value = connection.execute(select(func.avg(last.c.compute_s))).scalar()
        return None if value is None else float(value)

    def _changed(self, changed: Iterable[Job]) -> None:
        ids = {name for job in changed for name in (job.id, job.batch_id) if name}
        if ids:
            self._notify(sorted(ids))


def _held(claim: Claim) -> list[Any]:
    return [jobs.c.id == claim.job.id, jobs.c.state == "running", jobs.c.fence == claim.fence]


def _job(row: Row[Any]) -> Job:
    return _job_of(row._asdict())


def _job_of(row: Mapping[str, Any]) -> Job:
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
    options = {name: value for name, value in payload.items() if name != "source"}
    return hashlib.sha256(json.dumps([kind, options], sort_keys=True).encode()).hexdigest()


def webhook_data(job: Job) -> dict[str, Any]:
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


def batch_data(batch: Batch) -> dict[str, Any]:
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
