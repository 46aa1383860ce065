"""Reading: one job, lists, batches with their counts, and how long a queue is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, String, and_, bindparam, func, select, union

from milo.errors import NotFound
from milo.jobs import FINAL, PRIORITIES, QUEUES, Batch, Job, State
from milo.ledger.database import reading
from milo.ledger.schema import batches, jobs, revisions
from milo.ledger.store import READABLE, Store, job_from

_ONE = select(jobs).where(jobs.c.id == bindparam("job_id", type_=String))
_ONE_OF_OWNER = _ONE.where(jobs.c.owner == bindparam("of", type_=String))


def _waiting(queue: str, state: str = "queued") -> Select[Any]:
    """The number of jobs of one queue and state: a range of one index, whatever else there is."""
    return select(func.count()).select_from(jobs).where(jobs.c.queue == queue, jobs.c.state == state)


class Reading(Store):
    """What everybody calls."""

    def get(self, job_id: str, owner: str | None = None) -> Job:
        """One job; with `owner`, only if it is theirs. `NotFound` otherwise."""
        query = _ONE if owner is None else _ONE_OF_OWNER
        with reading(self.engine) as connection:
            row = connection.execute(query, {"job_id": job_id, "of": owner}).one_or_none()
        if row is None:
            raise NotFound(f"there is no job {job_id!r}", code="unknown_job")
        return job_from(row)

    def jobs(
        self,
        *,
        owner: str | None = None,
        kind: str | Sequence[str] | None = None,
        state: State | None = None,
        batch_id: str | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> list[Job]:
        """Newest first, at most `limit`; `before` is the id to go on from."""
        query: Select[Any] = select(jobs).order_by(jobs.c.id.desc()).limit(limit)
        kinds = [kind] if isinstance(kind, str) else kind
        if kinds is not None:
            query = query.where(jobs.c.kind.in_(kinds))
        for column, value in ((jobs.c.owner, owner), (jobs.c.state, state)):
            if value is not None:
                query = query.where(column == value)
        if batch_id is not None:
            query = query.where(jobs.c.batch_id == batch_id)
        if before is not None:
            query = query.where(jobs.c.id < before)
        with reading(self.engine) as connection:
            return [job_from(row) for row in connection.execute(query)]

    def jobs_of(self, ids: Sequence[str], owner: str | None) -> list[Job]:
        """Those of these jobs that are there, and the owner's (None: anybody's), the oldest first."""
        query = select(jobs).where(jobs.c.id.in_(ids))
        if owner is not None:
            query = query.where(jobs.c.owner == owner)
        with reading(self.engine) as connection:
            return [job_from(row) for row in connection.execute(query.order_by(jobs.c.id))]

    def changed_since(self, since: float, owner: str | None, limit: int) -> list[Job]:
        """Jobs that may have changed after a time (unix seconds), the oldest first: made, ended or edited since, or
        running. At most `limit`."""
        made = select(jobs.c.id).where(jobs.c.id > f"job_{max(0, int(since * 1000)):012x}")  # ids sort by time
        ended = select(jobs.c.id).where(jobs.c.state.in_(FINAL), jobs.c.finished_at > since)
        running = select(jobs.c.id).where(jobs.c.state == "running")
        edited = select(revisions.c.job_id).where(revisions.c.created_at > since)
        query = select(jobs).where(jobs.c.id.in_(union(made, ended, running, edited)))
        if owner is not None:
            query = query.where(jobs.c.owner == owner)
        with reading(self.engine) as connection:
            return [job_from(row) for row in connection.execute(query.order_by(jobs.c.id).limit(limit))]

    def first_waiting(self, queue: str, kind: str, limit: int) -> list[Job]:
        """Jobs of one queue and kind that wait and have never begun, the oldest first."""
        waiting = and_(
            jobs.c.queue == queue, jobs.c.state == "queued", jobs.c.kind == kind, jobs.c.started_at.is_(None)
        )
        mine = and_(waiting, jobs.c.published_at.is_not(None), jobs.c.cancel_requested.is_(False), READABLE)
        with reading(self.engine) as connection:
            found = connection.execute(select(jobs).where(mine).order_by(jobs.c.published_at).limit(limit))
            return [job_from(row) for row in found]

    def batch_jobs(self, batch_id: str, after: int = -1, limit: int = 500) -> list[Job]:
        """Jobs of a batch in the order they were given."""
        query = select(jobs).where(jobs.c.batch_id == batch_id, jobs.c.batch_index > after)
        with reading(self.engine) as connection:
            return [job_from(row) for row in connection.execute(query.order_by(jobs.c.batch_index).limit(limit))]

    def batch(self, batch_id: str, owner: str | None = None) -> Batch:
        """One batch with its counts. `NotFound` if there is none (or it is another owner's)."""
        with reading(self.engine) as connection:
            batch = self.read_batch(connection, batch_id)
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
            return [self.read_batch(connection, batch_id) for batch_id in connection.execute(query).scalars()]

    def counts(self) -> dict[str, dict[str, int]]:
        """Jobs that have not ended: `{queue: {state: n}}`."""
        result: dict[str, dict[str, int]] = {}
        with reading(self.engine) as connection:
            for queue in QUEUES:
                for state in ("queued", "running"):
                    if count := connection.execute(_waiting(queue, state)).scalar_one():
                        result.setdefault(queue, {})[state] = count
        return result

    def decoded_ahead_s(self) -> float:
        """Seconds of audio that archives have decoded and the GPU has not transcribed yet."""
        waiting = and_(jobs.c.queue == "gpu.batch", jobs.c.state.in_(("queued", "running")), jobs.c.audio_s > 0)
        with reading(self.engine) as connection:
            return float(connection.execute(select(func.sum(jobs.c.audio_s)).where(waiting)).scalar() or 0)

    def ahead(self, job: Job) -> int:
        """Jobs that will start before this queued one, if nothing comes after it: owners of one queue take turns."""
        rank = [f"gpu.{priority}" for priority in PRIORITIES]
        mine = f"gpu.{job.priority}"
        counted = [_waiting(name) for name in rank[: rank.index(mine)]]
        if job.queue != mine:  # still to be decoded: all that is decoded goes first
            counted.append(_waiting(mine))
        theirs = _waiting(job.queue).where(jobs.c.owner == job.owner)
        older = theirs.where(jobs.c.published_at < (job.published_at or job.created_at))
        others = _waiting(job.queue).where(jobs.c.owner != job.owner, jobs.c.published_at.is_not(None))
        others = others.group_by(jobs.c.owner)  # published ones only: they have an index of their own
        with reading(self.engine) as connection:
            own = int(connection.execute(older).scalar_one())
            turns = sum(min(own + 1, int(count)) for count in connection.execute(others).scalars())
            return own + turns + sum(int(connection.execute(query).scalar_one()) for query in counted)

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
