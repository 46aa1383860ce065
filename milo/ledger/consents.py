"""Which transcripts may be used for training, as their owners say, and since when."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, insert, select, update

from milo.errors import NotFound
from milo.jobs import Job
from milo.ledger.database import reading, writing
from milo.ledger.schema import consents
from milo.ledger.store import Store


@dataclass(frozen=True)
class Consent:
    """What was said last of one transcript."""

    job_id: str
    owner: str
    given_by: str
    given_at: float
    revoked_by: str | None
    revoked_at: float | None

    @property
    def holds(self) -> bool:
        return self.revoked_at is None


def consent_of(store: Store, job_id: str, owner: str | None = None) -> Consent | None:
    """What was said of a transcript, of an owner's only if one is named; None: nothing ever."""
    query = select(consents).where(consents.c.job_id == job_id)
    if owner is not None:
        query = query.where(consents.c.owner == owner)
    with reading(store.engine) as connection:
        row = connection.execute(query).one_or_none()
    return Consent(**row._mapping) if row else None


def give(store: Store, job: Job, by: str) -> Consent:
    """From now on it may be used. Given again, it keeps its first time."""
    before = consent_of(store, job.id)
    if before and before.holds:
        return before
    given = Consent(job.id, job.owner, by, store.clock(), None, None)
    with writing(store.engine) as tx:
        tx.execute(delete(consents).where(consents.c.job_id == job.id))
        tx.execute(insert(consents), vars(given))
    return given


def revoke(store: Store, job_id: str, by: str, owner: str | None) -> Consent:
    """From now on it may not. Raises `NotFound` where nobody has given it (or it is another owner's)."""
    before = consent_of(store, job_id, owner)
    if before is None:
        raise NotFound(f"nobody has given the transcript {job_id!r} to training", code="no_consent")
    if before.holds:
        with writing(store.engine) as tx:
            mine = update(consents).where(consents.c.job_id == job_id)
            tx.execute(mine.values(revoked_by=by, revoked_at=store.clock()))
    return consent_of(store, job_id) or before


def given(store: Store, owner: str | None) -> list[str]:
    """Ids of the transcripts that may be used, of one owner or (None) of all."""
    query = select(consents.c.job_id).where(consents.c.revoked_at.is_(None))
    if owner is not None:
        query = query.where(consents.c.owner == owner)
    with reading(store.engine) as connection:
        return list(connection.execute(query.order_by(consents.c.job_id)).scalars())
