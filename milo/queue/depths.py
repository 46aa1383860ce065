"""How many messages wait in each queue."""

from __future__ import annotations

import redis

from milo.jobs import GPU_QUEUES, QUEUES
from milo.queue.connection import redis_client, redis_down
from milo.settings import Settings


def depths(settings: Settings) -> dict[str, int]:
    """Messages waiting in each queue. Raises `Unavailable` when Redis does not answer."""
    try:
        pipe = redis_client(settings.redis_url).pipeline(transaction=False)
        for queue in QUEUES:
            pipe.llen(queue)
        return dict(zip(QUEUES, pipe.execute(), strict=True))
    except redis.RedisError as error:
        raise redis_down(error) from error


def work_waits(settings: Settings, queue: str) -> bool:
    """Whether a queue has messages. False when Redis does not answer: just go on."""
    try:
        return bool(redis_client(settings.redis_url).llen(queue))
    except redis.RedisError:
        return False


def higher_work_waits(settings: Settings, queue: str) -> bool:
    """Whether a GPU queue of a higher priority has messages. False when Redis does not answer: just go on."""
    above = GPU_QUEUES[: GPU_QUEUES.index(queue)] if queue in GPU_QUEUES else ()
    if not above:
        return False
    try:
        pipe = redis_client(settings.redis_url).pipeline(transaction=False)
        for name in above:
            pipe.llen(name)
        return any(pipe.execute())
    except redis.RedisError:
        return False
