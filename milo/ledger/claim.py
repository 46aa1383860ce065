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

The statements are made once, with parameters: to build the larger ones takes SQLAlchemy ten times as long as to run
them takes the database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain, zip_longest
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    Float,
    Integer,
    ScalarSelect,
    Select,
    String,
    and_,
    bindparam,
    case,
    exists,
    false,
    func,
    or_,
    select,
    update,
)

from milo.jobs import Job
from milo.ledger.database import reading, writing
from milo.ledger.schema import jobs
from milo.ledger.store import READABLE, Claim, Store, group_key, is_due, job_from, lease_over

NOW, LEASE_S = bindparam("now", type_=Float), bindparam("lease_s", type_=Float)
ID, QUEUE, AFTER = (bindparam(name, type_=String) for name in ("job_id", "queue_name", "after"))


class Claiming(Store):
    """How the runner gets its jobs."""

    def claim(self, job_id: str, worker: str) -> Claim | None:
        """Take this job, whosever turn it is: queued, or running with a lease that ran out. None: not to be had."""
        claims = self._claim(_taking_named(self._leases_count()), worker, {"job_id": job_id})
        return claims[0] if claims else None

    def claim_next(self, queue: str, job_id: str, worker: str, after: str = "", *, spare: bool = False) -> Claim | None:
        """Act on a wake-up of `queue` that names `job_id`. None: there is nothing to do for this message.

        Taken is the named job itself if its lease ran out; else the oldest job of the next owner in turn (the names
        go round; `after` had the last turn); else the named one, if only it has become due. A wake-up is dropped
        when its job was cancelled before it started, and, with `spare` (the worker has taken more jobs than messages),
        when its job waits no longer.
        """
        if spare and not self._waits(job_id):  # most are dropped: without a lock for it
            return None
        which = {"job_id": job_id, "queue_name": queue, "after": after}
        claims = self._claim(_taking_next(spare, self._leases_count()), worker, which)
        return claims[0] if claims else None

    def _waits(self, job_id: str) -> bool:
        with reading(self.engine) as connection:
            return connection.execute(_OPEN, {"job_id": job_id}).first() is not None

    def claim_like(self, job: Job, worker: str, most: int, after: str | None = None) -> list[Claim]:
        """Take up to `most` further queued jobs that may share an engine batch with `job`, in the order of turns.

        One of each owner, beginning behind `after` (default: the job's own), then the next of each, the oldest first.
        Only first attempts: a job that has already killed a worker runs alone, and its neighbours stay unharmed.
        """
        like = {"queue_name": job.queue, "group": group_key(job.kind, job.payload), "stage": job.stage}
        with reading(self.engine) as connection:
            where = like | {"now": self.clock()}
            ids = _in_turn(connection, where, job.owner if after is None else after, most)
        if not ids:
            return []
        taken = self._claim(_TAKING_IDS, worker, {"ids": ids})
        return sorted(taken, key=lambda claim: ids.index(claim.job.id))

    def _claim(self, taking: Executable, worker: str, which: Mapping[str, object]) -> list[Claim]:
        given = {"now": self.clock(), "lease_s": self.settings.lease_s, "claimer": worker}
        with writing(self.engine, durable=False) as tx:
            taken = [job_from(row) for row in tx.execute(taking, {**given, **which})]
        self.changed(taken)
        return [Claim(job, job.fence, worker) for job in taken]


def _taking(*which: ColumnElement[bool]) -> Executable:
    """Takes the jobs of these conditions; gives their rows as they are then."""
    return (
        update(jobs)
        .where(*which, jobs.c.cancel_requested.is_(False), READABLE)
        .values(
            state="running",
            attempt=case((jobs.c.state == "running", jobs.c.attempt + 1), else_=jobs.c.attempt),
            fence=jobs.c.fence + 1,
            version=jobs.c.version + 1,
            worker=bindparam("claimer"),
            lease_expires_at=NOW + LEASE_S,
            started_at=func.coalesce(jobs.c.started_at, NOW),
            due_at=None,
        )
        .returning(jobs)
    )


def _lost(leases_count: bool) -> ColumnElement[bool]:
    ended = lease_over(NOW, LEASE_S) if leases_count else false()
    return and_(jobs.c.state == "running", ended, jobs.c.attempt < jobs.c.max_attempts)


def _ready() -> ColumnElement[bool]:
    return and_(jobs.c.state == "queued", is_due(NOW), jobs.c.cancel_requested.is_(False), READABLE)


@lru_cache
def _taking_named(leases_count: bool) -> Executable:
    return _taking(and_(jobs.c.id == ID, or_(_lost(leases_count), _ready())))


@lru_cache
def _taking_next(spare: bool, leases_count: bool) -> Executable:
    named = and_(jobs.c.id == ID, jobs.c.queue == QUEUE)
    turns = and_(jobs.c.queue == QUEUE, _ready(), jobs.c.published_at.is_not(None))
    chosen = func.coalesce(
        _id(select(jobs.c.id).where(named, _lost(leases_count))),
        _id(_oldest(turns).where(jobs.c.owner > AFTER)),
        _id(_oldest(turns)),
        _id(select(jobs.c.id).where(named, _ready())),
    )
    withdrawn = _any(jobs.c.id == ID, jobs.c.state == "cancelled", jobs.c.started_at.is_(None))
    which = [jobs.c.id == chosen, or_(_lost(leases_count), _ready()), ~withdrawn]
    if spare:
        which.append(or_(jobs.c.id == ID, _any(named, jobs.c.state == "queued")))
    return _taking(*which)


def _oldest(turns: ColumnElement[bool]) -> Select[Any]:
    """The oldest job of the first owner. A row that another worker is just taking is passed over (PostgreSQL)."""
    return select(jobs.c.id).where(turns).order_by(jobs.c.owner, jobs.c.published_at).with_for_update(skip_locked=True)


def _id(query: Select[Any]) -> ScalarSelect[Any]:
    return query.limit(1).correlate(None).scalar_subquery()


def _any(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists(select(jobs.c.id).where(*conditions).correlate(None))


_OPEN = select(jobs.c.id).where(jobs.c.id == ID, jobs.c.state.in_(("queued", "running")))
_TAKING_IDS = _taking(jobs.c.id.in_(bindparam("ids", expanding=True)), jobs.c.state == "queued")


@lru_cache
def _next_owners_oldest() -> Executable:
    """Jobs like one, of the next owner that has any."""
    like = and_(
        and_(jobs.c.queue == QUEUE, jobs.c.group_key == bindparam("group"), _ready()),
        and_(jobs.c.stage == bindparam("stage"), jobs.c.attempt == 1, jobs.c.published_at.is_not(None)),
    )
    owner = select(func.min(jobs.c.owner)).where(like, jobs.c.owner > AFTER).correlate(None).scalar_subquery()
    theirs = select(jobs.c.owner, jobs.c.id).where(like, jobs.c.owner == owner)
    return theirs.order_by(jobs.c.published_at).limit(bindparam("most", type_=Integer))


def _in_turn(connection: Connection, like: Mapping[str, object], after: str, most: int) -> Sequence[str]:
    """Ids of up to `most` such jobs, the owners in turn: an index step an owner, and no more than `most` of them."""
    by_owner: dict[str, list[str]] = {}
    last, wrapped = after, False
    while len(by_owner) < most:
        rows = connection.execute(_next_owners_oldest(), {**like, "after": last, "most": most}).all()
        if rows and rows[0].owner not in by_owner:
            last = rows[0].owner
            by_owner[last] = [row.id for row in rows]
        elif rows or wrapped:
            break  # every owner has had one turn
        else:
            last, wrapped = "", True
    in_turn = chain.from_iterable(zip_longest(*by_owner.values()))
    return [job_id for job_id in in_turn if job_id is not None][:most]
