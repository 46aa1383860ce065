"""What most tests need: settings with a home of their own, and one real Redis for each test process.

What is slow to import is imported by the fixture that needs it, so that a file of small tests starts at once.
"""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.support.guard import guard_this_process
from tests.support.no_secrets import no_log_file_holds_a_secret, pytest_runtest_makereport

if TYPE_CHECKING:
    import redis

    from milo.settings import Settings

__all__ = ["no_log_file_holds_a_secret", "pytest_runtest_makereport"]

for _name in [name for name in os.environ if name.startswith("MILO_")]:
    if not _name.startswith(("MILO_TEST_", "MILO_SCREENSHOTS")):
        del os.environ[_name]  # a test must not see the developer's settings


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("dist", "no") == "no":  # a process that imports the tests
        gc.disable()  # until all is imported
    if not hasattr(config, "workerinput"):  # xdist's workers are guarded by the run that starts them
        guard_this_process()


LONGEST = (
    "tests/trainer/whisper/test_train.py",
    "tests/workers/kinds/test_training.py",
    "tests/faults/test_faults.py",
    "tests/milo/cli/test_cli.py",
    "tests/milo/stack/test_stack.py",
    "tests/workers/test_pipeline_live.py",
    "tests/web/test_pages.py",
    "tests/web/test_editor.py",
    "tests/workers/kinds/test_pipeline.py",
    "tests/api/test_training_live.py",
    "tests/web/test_conversation.py",
    "tests/web/test_uploads.py",
    "tests/api/test_openai.py",
    "tests/milo/queue/test_queue.py",
    "tests/milo/monitoring/test_beat.py",
    "tests/trainer/vits/test_train.py",
    "tests/test_audit_bugs.py",
    "tests/milo/client/test_client.py",
    "tests/api/test_conversation_live.py",
    "tests/security/test_secrets.py",
)
"""The files that take longest. A file is one process's, so that what is begun last shall be short."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.nodeid.partition("::")[0], len(LONGEST)))


def pytest_collection_finish() -> None:
    """What has been imported stays: a full collection need not go through torch's millions of objects each time."""
    gc.enable()
    gc.freeze()


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Redis that this test process shares; `settings` empties it for each test."""
    from milo.queue.celery import app
    from tests.support.servers import redis_server

    with redis_server() as url:
        app.conf.broker_url = url
        yield url


@pytest.fixture
def redis_client(redis_url: str) -> redis.Redis:
    import redis

    return redis.Redis.from_url(redis_url)


@pytest.fixture
def settings(tmp_path: Path, redis_url: str, redis_client: redis.Redis) -> Settings:
    """Settings of this test alone: own home, empty Redis."""
    from milo.settings import Settings

    redis_client.flushall()
    return Settings(home=tmp_path / "home", redis_url=redis_url, _env_file=None)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty ledger, to be copied: migrating takes longer than most tests."""
    from milo.ledger import Ledger
    from milo.settings import Settings

    home = tmp_path_factory.mktemp("migrated")
    Ledger.open(Settings(home=home, _env_file=None)).engine.dispose()
    return home / "ledger.sqlite3"


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str | None]:
    from tests.support.postgres import postgres

    with postgres() as url:
        yield url


@pytest.fixture(scope="session")
def migrated_postgres(postgres_url: str | None, tmp_path_factory: pytest.TempPathFactory) -> str | None:
    """The name of an empty ledger's database, to be copied; None where there is no PostgreSQL."""
    from milo.ledger import Ledger
    from milo.settings import Settings

    if postgres_url is None:
        return None
    name = f"t{uuid4().hex}"
    _create_database(postgres_url, name)
    url = postgres_url.replace("/postgres?", f"/{name}?")
    Ledger.open(Settings(home=tmp_path_factory.mktemp("pg"), database_url=url, _env_file=None)).engine.dispose()
    return name


@pytest.fixture(params=["sqlite", "postgresql"])
def each_database(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings of an empty ledger: the test runs once on each database."""
    from milo.settings import Settings

    settings = Settings(home=tmp_path, _env_file=None)
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("migrated"), tmp_path / "ledger.sqlite3")
        return settings
    url = request.getfixturevalue("postgres_url")
    if url is None:
        pytest.skip("no PostgreSQL here: apt-get install postgresql, or set MILO_TEST_DATABASE_URL")
    name = f"t{uuid4().hex}"
    _create_database(url, name, request.getfixturevalue("migrated_postgres"))
    return settings.model_copy(update={"database_url": url.replace("/postgres?", f"/{name}?")})


def _create_database(url: str, name: str, template: str = "template1") -> None:
    from sqlalchemy import text

    from milo.ledger.database import connect

    admin = connect(url)
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    admin.dispose()
