"""The file under the ledger: replaced, damaged, locked, or with rows of another version in it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import Engine, text, update

from milo.errors import Conflict, Invalid, NotFound, Unavailable
from milo.jobs import NewJob
from milo.ledger import Ledger, database
from milo.ledger.database import connect, writing
from milo.ledger.schema import jobs
from milo.settings import Settings

PING = NewJob(kind="ping", payload={"seconds": 0}, owner="ana", priority="batch")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger.open(Settings(home=tmp_path / "home", _env_file=None))
    yield opened
    opened.engine.dispose()


@pytest.fixture
def on_postgres(postgres_url: str | None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    if postgres_url is None:
        pytest.skip("no PostgreSQL here: apt-get install postgresql, or set MILO_TEST_DATABASE_URL")
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 200)
    monkeypatch.setattr(database, "IDLE_TRANSACTION_MS", 300)
    engine = connect(postgres_url)
    yield engine
    engine.dispose()


def test_on_postgresql_a_lock_is_waited_for_shortly_and_who_sleeps_on_one_loses_it(on_postgres: Engine) -> None:
    with writing(on_postgres) as connection:
        connection.execute(text("CREATE TABLE held (x int)"))
    with pytest.raises(Unavailable, match="idle-in-transaction"), writing(on_postgres) as sleeper:
        sleeper.execute(text("LOCK TABLE held"))
        with pytest.raises(Unavailable, match="lock timeout"), writing(on_postgres) as other:
            other.execute(text("LOCK TABLE held"))
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with writing(on_postgres) as other, suppress(Unavailable):
                other.execute(text("DROP TABLE held"))
                break
        sleeper.execute(text("SELECT 1"))


def file_of(ledger: Ledger) -> Path:
    return ledger.settings.home / "ledger.sqlite3"


@pytest.mark.parametrize("url", ["foo", "nosuch://ana:hunter2@db/milo", "mysql://ana:hunter2@db/milo"])
def test_a_url_of_no_database_is_told_without_its_password(url: str) -> None:
    with pytest.raises(Invalid, match="MILO_DATABASE_URL") as caught:
        connect(url)
    assert "hunter2" not in caught.value.detail


def test_a_backup_put_in_the_place_of_the_file_counts_at_once(ledger: Ledger, tmp_path: Path) -> None:
    kept = ledger.create(PING)
    backup = tmp_path / "backup"
    with sqlite3.connect(file_of(ledger)) as source, sqlite3.connect(backup) as target:
        source.backup(target)
    gone = ledger.create(PING)
    for suffix in ("-wal", "-shm"):
        Path(f"{file_of(ledger)}{suffix}").unlink(missing_ok=True)
    os.replace(backup, file_of(ledger))
    after = ledger.create(PING)
    with pytest.raises(NotFound):
        ledger.get(gone.id)
    with sqlite3.connect(file_of(ledger)) as seen:
        assert {row[0] for row in seen.execute("SELECT id FROM jobs")} == {kept.id, after.id}


def test_a_damaged_file_is_a_503_that_says_so(ledger: Ledger, tmp_path: Path) -> None:
    ledger.create(PING)
    ledger.engine.dispose()
    shutil.copy(file_of(ledger), tmp_path / "copy")
    content = bytearray((tmp_path / "copy").read_bytes())
    content[0:100] = bytes(100)
    file_of(ledger).write_bytes(bytes(content))
    with pytest.raises(Unavailable) as caught:
        ledger.jobs()
    assert caught.value.code == "ledger_damaged" and "restore a backup" in caught.value.detail


def test_a_row_of_a_newer_milo_is_refused_and_holds_up_no_other(ledger: Ledger) -> None:
    newer, plain, dead = (ledger.create(PING) for _ in range(3))
    assert ledger.claim(dead.id, "w")
    with writing(ledger.engine) as tx:
        tx.execute(update(jobs).where(jobs.c.id == newer.id).values(schema_version=99))
    with pytest.raises(Conflict, match="newer Milo"):
        ledger.get(newer.id)
    assert ledger.claim(newer.id, "w") is None
    assert [claim.job.id for claim in ledger.claim_like(plain, "w", 10)] == [plain.id]
    with writing(ledger.engine) as tx:
        tx.execute(update(jobs).values(state="running", worker="w", lease_expires_at=1.0))
    assert {job.id for job in ledger.reap()} == {plain.id, dead.id}


def test_a_row_of_the_first_version_is_read(ledger: Ledger) -> None:
    old = ledger.create(PING)
    with writing(ledger.engine) as tx:
        tx.execute(update(jobs).values(schema_version=1))
    assert ledger.get(old.id).id == old.id and ledger.claim(old.id, "w")
