"""Runs each task of beat once a period: two beats (a second machine, a restart) send each twice."""

from __future__ import annotations

import logging
import time
from typing import Any

import redis

from milo.monitoring.redis_state import BEAT_KEY
from milo.queue.connection import redis_client
from milo.settings import Settings

log = logging.getLogger(__name__)

SLOT_SHARE = 0.8
"""A slot is taken for this share of the period: less than all of it, for beat is never quite punctual."""


def take_slot(settings: Settings, name: str, every_s: float | None) -> bool:
    """Whether this message is the first of its period. `every_s` is beat's period; None: somebody asked by hand.

    The slot ends by itself. One that was taken more than a period ahead of now is free: the clock was set back, and
    Redis, which keeps time by it, would hold the slot until the old time has come again.
    """
    if every_s is None:
        return True
    client = redis_client(settings.redis_url)
    key, now, slot_ms = f"milo:tick:{name}", time.time(), max(1, int(every_s * SLOT_SHARE * 1000))
    try:
        if not client.set(key, now, nx=True, px=slot_ms):
            taken_at: Any = client.get(key)
            if taken_at is None or float(taken_at) <= now + every_s:  # another beat's clock may be a little ahead
                return False
            client.set(key, now, px=slot_ms)
        client.hset(BEAT_KEY, name, str(now))
    except redis.RedisError as error:
        log.warning("the task %s of beat is left out: Redis does not answer: %s", name, error)
        return False
    return True
