"""What the systems that watch trainings have found, a row a look; `MILO_HOME/status/` shows the last of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, delete, insert, select

from milo.ledger.database import reading, writing
from milo.ledger.schema import system_reports

KEPT = 500
"""Rows of one system; older ones go."""


@dataclass(frozen=True)
class SystemReport:
    """One look of one system."""

    system: str
    at: float
    state: str
    reason: str
    run_id: str | None
    job_id: str | None
    checkpoint: str | None
    inputs: str
    """Hash of all that it looked at."""
    document: dict[str, Any]


def add(engine: Engine, report: SystemReport) -> None:
    with writing(engine) as tx:
        tx.execute(insert(system_reports), vars(report))
        mine = select(system_reports.c.id).where(system_reports.c.system == report.system)
        oldest = tx.execute(mine.order_by(system_reports.c.id.desc()).offset(KEPT).limit(1)).scalar()
        if oldest is not None:
            tx.execute(
                delete(system_reports).where(system_reports.c.system == report.system, system_reports.c.id <= oldest)
            )


def last(engine: Engine, system: str, count: int = 1) -> list[SystemReport]:
    """The last looks of a system, oldest first."""
    query = select(*(c for c in system_reports.c if c.name != "id")).where(system_reports.c.system == system)
    with reading(engine) as connection:
        rows = connection.execute(query.order_by(system_reports.c.id.desc()).limit(count)).all()
    return [SystemReport(**row._mapping) for row in reversed(rows)]
