"""Beat's ticks, once each: two beats (a second machine, a restart) send each twice, and the second does nothing."""

from __future__ import annotations

import logging
import time

import redis

from milo.queue import redis_client
from milo.settings import Settings
from milo.status.signs import BEAT_KEY

log = logging.getLogger(__name__)

SHARE = 0.8
"""Of its period a tick keeps the slot: less than all of it, for beat is never quite punctual."""


def take_slot(settings: Settings, name: str, every_s: float | None) -> bool:
    """Whether this tick is the first of its slot. `every_s` is beat's period; None: somebody asked by hand.

    The lock is never released: it ends with the slot.
    """
    if every_s is None:
        return True
    client = redis_client(settings.redis_url)
    try:
        lock = client.lock(f"milo:tick:{name}", timeout=every_s * SHARE, blocking=False, thread_local=False)
        if not lock.acquire():
            return False
        client.hset(BEAT_KEY, name, str(time.time()))
    except redis.RedisError as error:
        log.warning("the tick %s is left out: Redis does not answer: %s", name, error)
        return False
    return True
