"""How much of its quotas a key has used, as far as the ledger's rows tell: uploads, audio that waits, computing."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, Engine, func, select

from milo.ledger.database import reading
from milo.ledger.schema import api_keys, jobs, owners

DAY_S = 24 * 3600.0


def queued(connection: Connection, owner: str) -> tuple[int, float]:
    """Jobs of the owner that wait, and their seconds of audio as far as they are decoded."""
    mine = select(func.count(), func.coalesce(func.sum(jobs.c.audio_s), 0.0))
    count, audio_s = connection.execute(mine.where(jobs.c.owner == owner, jobs.c.state == "queued")).one()
    return int(count), float(audio_s)


def compute_s(connection: Connection, owner: str, now: float) -> float:
    """Seconds of computing of the owner's jobs that have not ended, or ended within a day."""
    recent = func.coalesce(jobs.c.finished_at, now) > now - DAY_S
    mine = select(func.coalesce(func.sum(jobs.c.compute_s), 0.0)).where(jobs.c.owner == owner, recent)
    return float(connection.execute(mine).scalar_one())


def stored_bytes(engine: Engine, owner: str, size_of: Callable[[str], int | None]) -> int:
    """Bytes of the uploads that are kept for the owner; `size_of` tells those of one."""
    query = select(owners.c.name).where(owners.c.what == "blob", owners.c.owner == owner)
    with reading(engine) as connection:
        names = list(connection.execute(query).scalars())
    return sum(size_of(name) or 0 for name in names)


def known_owners(engine: Engine) -> list[str]:
    """The names of all keys that were ever made."""
    with reading(engine) as connection:
        return sorted(set(connection.execute(select(api_keys.c.name)).scalars()))
