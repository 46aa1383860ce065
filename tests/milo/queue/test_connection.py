"""One ping for a whole request."""

from __future__ import annotations

import pytest
import redis

from milo.errors import Unavailable
from milo.queue.connection import RedisCheck
from milo.settings import Settings
from milo.stack.ports import free_port


def pings(client: redis.Redis) -> int:
    return int(client.info("commandstats").get("cmdstat_ping", {}).get("calls", 0))  # type: ignore[union-attr]


def test_redis_is_pinged_once_however_many_ask(settings: Settings, redis_client: redis.Redis) -> None:
    before = pings(redis_client)
    check = RedisCheck(settings)
    for _ in range(3):
        check()
    once = pings(redis_client)
    RedisCheck(settings)()
    assert 1 <= once - before <= 2, "its own, and one of the client's health check at most"
    assert pings(redis_client) > once, "another request asks again"


def test_a_redis_that_is_away_is_said_at_every_call(settings: Settings) -> None:
    check = RedisCheck(settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{free_port()}/0"}))
    for _ in range(2):
        with pytest.raises(Unavailable, match="Redis does not answer"):
            check()
