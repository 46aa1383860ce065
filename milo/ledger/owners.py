"""Who may use what outlives or precedes jobs: uploads, runs and evaluations, by the names of keys.

A thing may have several owners: everybody who sent the same bytes, everybody whose own job came to the same report.
What has none is the operator's. Jobs and batches have their owner in their own rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from sqlalchemy import Engine, delete, insert, select
from sqlalchemy.exc import IntegrityError

from milo.ledger.database import reading, writing
from milo.ledger.schema import jobs, owners

What = Literal["blob", "run", "evaluation"]
"""A blob goes by its sha256, a run by the id of its job, an evaluation by the key of its report."""


def note(engine: Engine, what: What, name: str, owner: str) -> None:
    """From now on it is theirs, too. A power cut may take this back: then it is sent, or computed, again."""
    if owns(engine, what, name, owner):
        return
    try:
        with writing(engine, durable=False) as tx:
            tx.execute(insert(owners), {"what": what, "name": name, "owner": owner})
    except IntegrityError:
        return  # the same was noted at the same time


def owns(engine: Engine, what: What, name: str, owner: str) -> bool:
    """Whether it is theirs. A run is also its job's owner's, from the job's first moment on."""
    query = select(owners.c.owner).where(owners.c.what == what, owners.c.name == name, owners.c.owner == owner)
    with reading(engine) as connection:
        if connection.execute(query).first() is not None:
            return True
    return what == "run" and is_of_job(engine, name, owner)


def is_of_job(engine: Engine, job_id: str, owner: str) -> bool:
    """Whether a job that is still in the ledger is theirs."""
    own = select(jobs.c.id).where(jobs.c.id == job_id, jobs.c.owner == owner)
    with reading(engine) as connection:
        return connection.execute(own).first() is not None


def forget(engine: Engine, what: What, names: Iterable[str]) -> None:
    """What is removed has no owners."""
    with writing(engine) as tx:
        for name in names:
            tx.execute(delete(owners).where(owners.c.what == what, owners.c.name == name))
