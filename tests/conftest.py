"""What most tests need: settings with a home of their own, and one real Redis for each test process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from milo import queue
from milo.settings import Settings
from tests.no_secrets import no_log_file_holds_a_secret, pytest_runtest_makereport
from tests.servers import redis_server

__all__ = ["no_log_file_holds_a_secret", "pytest_runtest_makereport"]

for _name in [name for name in os.environ if name.startswith("MILO_")]:
    if not _name.startswith("MILO_TEST_"):
        del os.environ[_name]  # a test must not see the developer's settings


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Redis that this test process shares; `settings` empties it for each test."""
    with redis_server() as url:
        queue.app.conf.broker_url = url
        yield url


@pytest.fixture
def redis_client(redis_url: str) -> redis.Redis:
    return redis.Redis.from_url(redis_url)


@pytest.fixture
def settings(tmp_path: Path, redis_url: str, redis_client: redis.Redis) -> Settings:
    """Settings of this test alone: own home, empty Redis."""
    redis_client.flushall()
    return Settings(home=tmp_path / "home", redis_url=redis_url, _env_file=None)
