"""Background work paused: training and evaluation give way at their next step, and nobody claims them meanwhile.

The watchdog says it (a card too hot, a disk too full) and says it again at each look; a pause that nobody repeats ends
by itself, so that a watchdog that died pauses nothing for ever. Kept in Redis: without Redis nothing runs anyway.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass

import redis

from milo.queue.connection import redis_client
from milo.settings import Settings

KEY = "milo:pause"
QUEUE = "gpu.background"
"""The queue that a pause stops."""


@dataclass(frozen=True)
class Pause:
    """Why background work is paused. Times are unix seconds."""

    rule: str
    seen: str
    since: float
    until: float


def put(settings: Settings, rule: str, seen: str, ttl_s: float) -> Pause:
    """Begin a pause, or go on with it, for the next `ttl_s` seconds."""
    client, now = redis_client(settings.redis_url), time.time()
    before = next((one for one in active(settings) if one.rule == rule), None)
    pause = Pause(rule, seen, before.since if before else now, now + ttl_s)
    client.hset(KEY, rule, json.dumps(asdict(pause)))
    return pause


def lift(settings: Settings, rule: str) -> bool:
    """End a pause. Whether there was one."""
    return bool(redis_client(settings.redis_url).hdel(KEY, rule))


def active(settings: Settings) -> list[Pause]:
    """The pauses in force now; none when Redis does not answer."""
    try:
        return parse(redis_client(settings.redis_url).hgetall(KEY))  # type: ignore[arg-type]
    except redis.RedisError:
        return []


def parse(found: dict[bytes, bytes]) -> list[Pause]:
    """What Redis holds under `KEY`, without what has ended."""
    pauses = [Pause(**json.loads(value)) for value in found.values()]
    return sorted((one for one in pauses if one.until > time.time()), key=lambda one: one.since)
