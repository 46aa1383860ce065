"""The database under the ledger: connection, durability settings, schema migrations. Knows nothing of jobs.

SQLite runs in WAL mode, and what was `writing` survives a power cut: the commit writes the log, and one sync of it
serves all threads that have committed by then (`log_sync`). Write transactions take the write lock at their start
(`BEGIN IMMEDIATE`), so two writers queue up instead of failing half way; the threads of a process queue up before that,
for SQLite waits by sleeping longer and longer. Leases need less (`writing(…, durable=False)`): a power cut ends every
worker of this machine, too. PostgreSQL does all of this by itself.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from filelock import FileLock
from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError

from milo.errors import Invalid, Unavailable
from milo.ledger.log_sync import LogSync
from milo.settings import Settings
from milo.storage.secrets import private_home

BUSY_TIMEOUT_MS = 5_000
"""How long a statement waits for another's lock, on both databases."""
IDLE_TRANSACTION_MS = 60_000
"""PostgreSQL ends a transaction of a process that was stopped in it, and with it the locks that it holds."""
_PEER_IS_GONE = {
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}
"""libpq's names: without them a host that vanished is waited for, for minutes at a connect and for hours in a read."""
MIGRATIONS = Path(__file__).parents[1] / "migrations"


@dataclass(frozen=True)
class _Writers:
    """What the threads that write to one SQLite file share."""

    turn: threading.Lock
    log: LogSync


_writers: WeakKeyDictionary[Engine, _Writers] = WeakKeyDictionary()


def connect(url: str) -> Engine:
    """An engine with our durability settings. Opens no connection yet. Raises `Invalid` for what is no such URL."""
    if not url.startswith("sqlite"):
        try:
            return _postgres(url)
        except (ArgumentError, ImportError) as error:  # it may hold a password, and is not repeated
            raise Invalid(
                f"MILO_DATABASE_URL is no URL of a database that can be used ({type(error).__name__}): it is written "
                "postgresql+psycopg://user:password@host/name, or left out",
                code="bad_database_url",
            ) from None
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000}, pool_size=5, max_overflow=45)
    path = engine.url.database or ""
    _writers[engine] = _Writers(threading.Lock(), LogSync(Path(path)))

    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, record: Any) -> None:
        record.info["file"] = _identity(path)
        connection.isolation_level = None  # we say BEGIN ourselves
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        level = "NORMAL" if mode == "wal" else "FULL"  # a file system that knows no WAL: each commit syncs by itself
        for pragma in (f"synchronous={level}", "foreign_keys=ON", f"busy_timeout={BUSY_TIMEOUT_MS}"):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "checkout")
    def _same_file(_connection: Any, record: Any, _proxy: Any) -> None:
        if record.info["file"] != _identity(path):  # a backup was put in its place: rows must not go into a ghost
            raise DisconnectionError(f"{path} is another file now")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _postgres(url: str) -> Engine:
    """What the URL says itself about time-outs holds."""
    given = make_url(url)
    own = {name: value for name, value in _PEER_IS_GONE.items() if name not in given.query}
    engine = create_engine(given, connect_args=own, pool_pre_ping=True, pool_size=5, max_overflow=45)

    @event.listens_for(engine, "connect")
    def _timeouts(connection: Any, _record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = {BUSY_TIMEOUT_MS}")
            cursor.execute(f"SET idle_in_transaction_session_timeout = {IDLE_TRANSACTION_MS}")
        connection.commit()

    return engine


def _identity(path: str) -> tuple[int, int]:
    """Which file is at the path: device and inode; zeros when there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return (0, 0)
    return (found.st_dev, found.st_ino)


@contextmanager
def writing(engine: Engine, *, durable: bool = True) -> Iterator[Connection]:
    """A transaction that holds the write lock. Raises `Unavailable` when the database can't be reached or written.

    Not durable: the death of any process leaves it, a power cut may take it back; saves SQLite a sync of the disk.
    """
    with _sentences(), _one_writer(engine), engine.begin() as connection:
        yield connection
    if durable:
        synced(engine)


def synced(engine: Engine) -> None:
    """Return when all that this process has committed survives a power cut. Raises `Unavailable` when it may not."""
    if writers := _writers.get(engine):
        try:
            writers.log.wait()
        except OSError as error:
            raise Unavailable(f"the ledger's disk can't be written: {error}", retry_after_s=2) from error


@contextmanager
def _one_writer(engine: Engine) -> Iterator[None]:
    writers = _writers.get(engine)
    if writers is None:
        yield
        return
    if not writers.turn.acquire(timeout=BUSY_TIMEOUT_MS / 1000):
        raise Unavailable("the ledger's database does not answer: too many write at once", retry_after_s=2)
    try:
        yield
    finally:
        writers.turn.release()


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection for queries, outside any transaction."""
    with _sentences(), engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield connection


@contextmanager
def _sentences() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        if error.__class__.__name__ in ("OperationalError", "InterfaceError") or error.connection_invalidated:
            raise Unavailable(f"the ledger's database does not answer: {error.orig}", retry_after_s=2) from error
        if error.__class__.__name__ == "DatabaseError":  # "malformed", "not a database"
            detail = f"the ledger's database is damaged: {error.orig}. Stop Milo and restore a backup"
            raise Unavailable(detail, code="ledger_damaged", retry_after_s=60) from error
        if error.__class__.__name__ == "DataError":  # PostgreSQL: too long, out of range, a null character
            raise Invalid(f"the ledger can't keep a value: {error.orig}", code="not_kept") from error
        raise


def upgrade(engine: Engine, settings: Settings) -> None:
    """Bring the schema to this version. One process at a time; a database of a newer Milo is refused."""
    head = newest_revision()
    private_home(settings)
    _close_to_others(engine)
    if _revision(engine) == head:
        return
    # only now: importing Alembic takes as long as all else that a process does to open the ledger
    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["engine"] = engine
    with FileLock(settings.home / "migrate.lock", timeout=60):
        current = _revision(engine)
        if current == head:
            return
        try:
            command.upgrade(config, "head")
            synced(engine)
        except CommandError as error:
            raise Unavailable(
                f"the ledger was written by another version of Milo (schema {current}, this is {head}): {error}. "
                "Start the version that wrote it, or restore a backup.",
                code="schema_mismatch",
            ) from error


def newest_revision() -> str:
    """The schema of this version: the number that the last migration's file begins with."""
    return max(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))


def _revision(engine: Engine) -> str | None:
    """The schema that the database has; None where there is none yet."""
    with reading(engine) as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _close_to_others(engine: Engine) -> None:
    """The file holds webhook secrets: mode 0600, which SQLite gives the files beside it too."""
    if engine.url.get_backend_name() == "sqlite" and engine.url.database:
        path = Path(engine.url.database)
        with suppress(OSError):  # a folder that is not there, a file of somebody else: SQLite will say
            path.touch(mode=0o600)
            path.chmod(0o600)


def ping(engine: Engine) -> None:
    """Raises `Unavailable` when the database does not answer."""
    with reading(engine) as connection:
        connection.execute(text("SELECT 1"))
