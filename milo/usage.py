"""All that a key has used of its quotas: from the ledger, the file store and Redis."""

from __future__ import annotations

import contextlib
import time

import redis
from sqlalchemy import Engine

from milo.ledger import usage
from milo.ledger.database import reading
from milo.queue import places
from milo.quotas import Usage, usages
from milo.settings import Settings
from milo.storage.files import Files


def usage_of(settings: Settings, engine: Engine, files: Files, owner: str) -> list[Usage]:
    """Every quota of a key. While Redis is away, what it counts is told as 0."""
    with reading(engine) as connection:
        _, audio_s = usage.queued(connection, owner)
        used = {"queued_audio_s": audio_s, "compute_s": usage.compute_s(connection, owner, time.time())}
    used["stored_bytes"] = usage.stored_bytes(engine, owner, files.blob_size)
    with contextlib.suppress(redis.RedisError):
        used |= places.counts(settings, owner)
    return usages(settings, owner, used)
