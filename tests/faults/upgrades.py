"""Rows that another version wrote: read, or refused with a sentence, and never in the way of the others."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from sqlalchemy import text, update

from milo.jobs import NewJob
from milo.ledger import Ledger
from milo.ledger.database import writing
from milo.ledger.schema import jobs
from milo.settings import Settings
from tests.faults.field import Field, stack
from tests.faults.table import Row
from tests.faults.work import Load, account
from tests.support.servers import ROOT, environment

PING = NewJob(kind="ping", payload={"seconds": 0}, owner="operator", priority="batch")


def upgrades(folder: Path, scale: float, rng: random.Random) -> list[Row]:
    """A home with rows of the first version and of a later one; then a home whose tables are of a later one."""
    row = Row("rows of other versions")
    ledger = Ledger.open(Settings(home=folder / "home", _env_file=None))
    old = [ledger.create(PING).id for _ in range(5)]
    newer = [ledger.create(PING).id for _ in range(5)]
    with writing(ledger.engine) as tx:
        tx.execute(update(jobs).where(jobs.c.id.in_(old)).values(schema_version=1))
        tx.execute(update(jobs).where(jobs.c.id.in_(newer)).values(schema_version=99))
    ledger.engine.dispose()
    row.faults = len(newer)
    with stack(folder, ("flower", "archive")) as field:
        load = Load(field, max(6, round(20 * scale)), rng, "upgrade", ("ping", "tts"))
        load.start()
        account(field, load.finish(), row, 120)
        row.lost += len(field.wait_final(old, 60))
        row.jobs += len(old)
        for one in newer:
            answer = field.client.get(f"/jobs/{one}")
            sentence = answer.json().get("detail", "")
            row.expect(answer.status_code == 409 and "newer Milo" in sentence, f"{one}: {answer.text[:120]}")
    return [row, _newer_tables(field)]


def _newer_tables(field: Field) -> Row:
    row = Row("tables of a newer version", faults=1)
    with field.ledger() as ledger, writing(ledger.engine) as tx:
        tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    command = [sys.executable, "-m", "milo.cli", "up"]
    env = environment(field.settings)
    del env["MILO_REDIS_URL"]
    said = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=120)
    row.expect(said.returncode != 0 and "another version of Milo" in said.stderr, f"it said: {said.stderr[-300:]}")
    return row
