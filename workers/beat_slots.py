"""Beat's ticks, once each: two beats (a second machine, a restart) send each twice, and the second does nothing."""

from __future__ import annotations

import logging
import time
from typing import Any

import redis

from milo.monitoring.redis_state import BEAT_KEY
from milo.queue.connection import redis_client
from milo.settings import Settings

log = logging.getLogger(__name__)

SHARE = 0.8
"""Of its period a tick keeps the slot: less than all of it, for beat is never quite punctual."""


def take_slot(settings: Settings, name: str, every_s: float | None) -> bool:
    """Whether this tick is the first of its slot. `every_s` is beat's period; None: somebody asked by hand.

    The slot ends by itself. One that was taken in the future is free: the clock was set back, and Redis, which keeps
    time by it, would hold the slot until the old time has come again.
    """
    if every_s is None:
        return True
    client = redis_client(settings.redis_url)
    key, now, kept_ms = f"milo:tick:{name}", time.time(), max(1, int(every_s * SHARE * 1000))
    try:
        if not client.set(key, now, nx=True, px=kept_ms):
            taken_at: Any = client.get(key)
            if taken_at is None or float(taken_at) <= now:
                return False
            client.set(key, now, px=kept_ms)
        client.hset(BEAT_KEY, name, str(now))
    except redis.RedisError as error:
        log.warning("the tick %s is left out: Redis does not answer: %s", name, error)
        return False
    return True
