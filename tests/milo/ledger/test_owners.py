"""Owners of what outlives jobs: several for one thing, none for what nobody has made; and those from before."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config

from milo.jobs import NewJob
from milo.ledger import Ledger, owners
from milo.ledger.database import MIGRATIONS, connect
from milo.settings import Settings

BLOB, KEY = "a" * 64, "b" * 32


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger.open(Settings(home=tmp_path / "home", _env_file=None))
    yield opened
    opened.engine.dispose()


def test_a_thing_has_the_owners_that_were_noted(ledger: Ledger) -> None:
    engine = ledger.engine
    for owner in ("ana", "ben", "ana"):
        owners.note(engine, "blob", BLOB, owner)
    assert [owners.owns(engine, "blob", BLOB, owner) for owner in ("ana", "ben", "eva", "")] == [
        True,
        True,
        False,
        False,
    ]
    assert not owners.owns(engine, "run", BLOB, "ana") and not owners.owns(engine, "blob", BLOB.upper(), "ana")
    owners.forget(engine, "blob", [BLOB])
    assert not owners.owns(engine, "blob", BLOB, "ana")


def test_a_run_is_its_jobs_owners_from_the_first_moment(ledger: Ledger) -> None:
    job = ledger.create(NewJob(kind="ping", payload={"seconds": 0}, owner="ana", priority="batch"))
    assert owners.owns(ledger.engine, "run", job.id, "ana") and not owners.owns(ledger.engine, "run", job.id, "ben")


def test_a_ledger_from_before_there_were_owners_learns_them_from_its_jobs(ledger: Ledger, tmp_path: Path) -> None:
    job = NewJob(kind="ping", payload={"seconds": 0}, owner="ana", priority="batch")
    made = [ledger.create(job).id for _ in range(4)]
    rows = [
        ("stt", {"source": {"blob": BLOB}}, None),
        ("training", {"recipe": {}}, {"run": "x"}),
        ("evaluation", {"model": "m"}, {"key": KEY}),
        ("ping", ["odd"], "odd"),
    ]
    before = Settings(home=tmp_path / "before", _env_file=None)
    before.home.mkdir()
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["engine"] = connect(before.ledger_url)
    command.upgrade(config, "0006")
    with sqlite3.connect(before.home / "ledger.sqlite3") as database:
        database.execute("ATTACH ? AS now", (str(ledger.settings.home / "ledger.sqlite3"),))
        columns = ", ".join(row[1] for row in database.execute("PRAGMA main.table_info(jobs)"))
        database.execute(f"INSERT INTO main.jobs ({columns}) SELECT {columns} FROM now.jobs")
        for job_id, (kind, payload, result) in zip(made, rows, strict=True):
            values = (kind, json.dumps(payload), json.dumps(result), job_id)
            database.execute("UPDATE main.jobs SET kind = ?, payload = ?, result = ? WHERE id = ?", values)
    engine = Ledger.open(before).engine
    noted: tuple[tuple[owners.What, str], ...] = (("blob", BLOB), ("run", made[1]), ("evaluation", KEY))
    for what, name in noted:
        assert owners.owns(engine, what, name, "ana") and not owners.owns(engine, what, name, "ben"), what
    with sqlite3.connect(before.home / "ledger.sqlite3") as database:
        assert database.execute("SELECT count(*) FROM owners").fetchone() == (3,)
    engine.dispose()
