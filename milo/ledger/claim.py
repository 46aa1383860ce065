"""Taking work: one job for one wake-up, the owners of waiting jobs in turn.

A wake-up says that there is work in its queue; which, is decided here. So no owner's long queue holds up another's
short one of the same priority, and it does not matter which messages are lost or doubled, only how many there are.

How a claim is safe, with any number of workers and no lock of our own:

- Choosing and taking are one statement, `UPDATE jobs SET state = 'running', fence = fence + 1 … WHERE id = (the chosen
  one) AND it may still be taken … RETURNING *`. SQLite runs it under the write lock (`BEGIN IMMEDIATE`), so two claims
  come one after the other. On PostgreSQL they run side by side: the choosing subquery is `FOR UPDATE SKIP LOCKED`, so
  the second worker passes over the row that the first is taking, and the outer WHERE repeats the condition, so a row
  that changed in between is not updated. `RETURNING` gives the row as this claim has left it; reading it afterwards
  could show somebody else's.
- The fence is the row's count of claims. Every later change by the worker has `AND fence = ?` (`store.owned_by`): once
  the lease has run out and another has claimed the job, the number is outdated and the old worker changes nothing.
- A turn is the owner's name. The oldest job of the first owner whose name comes after the last one's is next; when
  there is none, the names begin again. Both are one step in the index (queue, state, owner, published_at), however
  long the queue is. Each worker child remembers the last owner by itself, which is as fair as a shared memory of it,
  because every child goes through all owners.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any

from sqlalchemy import ColumnElement, Connection, ScalarSelect, Select, and_, case, exists, func, or_, select, update

from milo.jobs import Job
from milo.ledger.database import reading, writing
from milo.ledger.schema import jobs
from milo.ledger.store import READABLE, Claim, Store, group_key, is_due, job_from


class Claiming(Store):
    """How the runner gets its jobs."""

    def claim(self, job_id: str, worker: str) -> Claim | None:
        """Take this job, whosever turn it is: queued, or running with a lease that ran out. None: not to be had."""
        now = self.clock()
        claims = self._claim(and_(jobs.c.id == job_id, or_(self._lost(now), _ready(now))), worker, now)
        return claims[0] if claims else None

    def claim_next(self, queue: str, job_id: str, worker: str, after: str = "", *, spare: bool = False) -> Claim | None:
        """Act on a wake-up of `queue` that names `job_id`. None: there is nothing to do for this message.

        Taken is the named job itself if its lease ran out; else the oldest job of the next owner in turn (the names
        go round; `after` had the last turn); else the named one, if only it has become due. A wake-up is dropped
        when its job was cancelled before it started, and, with `spare` (the worker has taken more jobs than messages),
        when its job waits no longer.
        """
        now = self.clock()
        named = and_(jobs.c.id == job_id, jobs.c.queue == queue)
        turns = and_(jobs.c.queue == queue, _ready(now), jobs.c.published_at.is_not(None))
        chosen = func.coalesce(
            _id(select(jobs.c.id).where(named, self._lost(now))),
            _id(_oldest(turns).where(jobs.c.owner > after)),
            _id(_oldest(turns)),
            _id(select(jobs.c.id).where(named, _ready(now))),
        )
        withdrawn = _any(jobs.c.id == job_id, jobs.c.state == "cancelled", jobs.c.started_at.is_(None))
        which = [jobs.c.id == chosen, or_(self._lost(now), _ready(now)), ~withdrawn]
        if spare:
            which.append(or_(jobs.c.id == job_id, _any(named, jobs.c.state == "queued")))
        claims = self._claim(and_(*which), worker, now)
        return claims[0] if claims else None

    def claim_like(self, job: Job, worker: str, most: int, after: str | None = None) -> list[Claim]:
        """Take up to `most` further queued jobs that may share an engine batch with `job`, in the order of turns.

        One of each owner, beginning behind `after` (default: the job's own), then the next of each, the oldest first.
        Only first attempts: a job that has already killed a worker runs alone, and its neighbours stay unharmed.
        """
        now = self.clock()
        like = and_(
            and_(jobs.c.queue == job.queue, jobs.c.group_key == group_key(job.kind, job.payload), _ready(now)),
            and_(jobs.c.stage == job.stage, jobs.c.attempt == 1, jobs.c.published_at.is_not(None)),
        )
        with reading(self.engine) as connection:
            ids = _in_turn(connection, like, job.owner if after is None else after, most)
        if not ids:
            return []
        taken = self._claim(and_(jobs.c.id.in_(ids), jobs.c.state == "queued"), worker, now)
        return sorted(taken, key=lambda claim: ids.index(claim.job.id))

    def _lost(self, now: float) -> ColumnElement[bool]:
        return and_(jobs.c.state == "running", self.lease_ended(now), jobs.c.attempt < jobs.c.max_attempts)

    def _claim(self, which: ColumnElement[bool], worker: str, now: float) -> list[Claim]:
        statement = (
            update(jobs)
            .where(which, jobs.c.cancel_requested.is_(False), READABLE)
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
        with writing(self.engine, durable=False) as tx:
            taken = [job_from(row) for row in tx.execute(statement)]
        self.changed(taken)
        return [Claim(job, job.fence, worker) for job in taken]


def _ready(now: float) -> ColumnElement[bool]:
    return and_(jobs.c.state == "queued", is_due(now), jobs.c.cancel_requested.is_(False), READABLE)


def _oldest(turns: ColumnElement[bool]) -> Select[Any]:
    """The oldest job of the first owner. A row that another worker is just taking is passed over (PostgreSQL)."""
    return select(jobs.c.id).where(turns).order_by(jobs.c.owner, jobs.c.published_at).with_for_update(skip_locked=True)


def _id(query: Select[Any]) -> ScalarSelect[Any]:
    return query.limit(1).correlate(None).scalar_subquery()


def _any(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists(select(jobs.c.id).where(*conditions).correlate(None))


def _in_turn(connection: Connection, like: ColumnElement[bool], after: str, most: int) -> Sequence[str]:
    """Ids of up to `most` such jobs, the owners in turn: an index step an owner, and no more than `most` of them."""
    by_owner: dict[str, list[str]] = {}
    last, wrapped = after, False
    while len(by_owner) < most:
        owner = select(func.min(jobs.c.owner)).where(like, jobs.c.owner > last).correlate(None).scalar_subquery()
        theirs = select(jobs.c.owner, jobs.c.id).where(like, jobs.c.owner == owner)
        rows = connection.execute(theirs.order_by(jobs.c.published_at).limit(most)).all()
        if rows and rows[0].owner not in by_owner:
            last = rows[0].owner
            by_owner[last] = [row.id for row in rows]
        elif rows or wrapped:
            break  # every owner has had one turn
        else:
            last, wrapped = "", True
    in_turn = chain.from_iterable(zip_longest(*by_owner.values()))
    return [job_id for job_id in in_turn if job_id is not None][:most]
