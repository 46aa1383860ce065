"""Events of a running job: pieces of a reply, chunks of audio. One Redis stream a job, short-lived.

The ledger has the truth of a job; this carries what clients get before the job ends. An attempt that starts writes a
`start` entry first: a reader that sees a second one knows that what came before it comes again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import redis
import redis.asyncio

from milo.queue.connection import redis_client
from milo.settings import Settings

TTL_S = 600
BLOCK_MS = 1000
MAX_ENTRIES = 20_000


def _key(job_id: str) -> str:
    return f"milo:said:{job_id}"


@dataclass(frozen=True)
class JobEvent:
    """One entry. `data` is JSON; `blob` raw bytes (audio), empty for most."""

    id: str
    event: str
    data: dict[str, Any]
    blob: bytes = b""


class EventWriter:
    """The worker's side. While Redis is away events are lost, and the job goes on."""

    def __init__(self, settings: Settings, job_id: str, *, begin: bool = True) -> None:
        """`begin`: an attempt starts; False: the events are about a job that still waits."""
        self._client = redis_client(settings.redis_url)
        self._key = _key(job_id)
        self._started = time.monotonic()
        if begin:
            self.say("start")

    def say(self, event: str, data: Mapping[str, object] | None = None, blob: bytes = b"") -> None:
        """Add an entry; `ms` since the start of this attempt is added to its data."""
        stamped = {"ms": round((time.monotonic() - self._started) * 1000)} | dict(data or {})
        fields = {"event": event, "data": json.dumps(stamped, ensure_ascii=False), "blob": blob}
        with contextlib.suppress(redis.RedisError):
            pipe = self._client.pipeline(transaction=False)
            pipe.xadd(self._key, fields, maxlen=MAX_ENTRIES, approximate=True)  # type: ignore[arg-type]
            pipe.expire(self._key, TTL_S)
            pipe.execute()


class EventReader:
    """The API's side: one connection pool for all readers of this process."""

    def __init__(self, settings: Settings) -> None:
        self._client = redis.asyncio.Redis.from_url(settings.redis_url, socket_connect_timeout=2, max_connections=1000)

    async def close(self) -> None:
        await self._client.aclose()

    async def listen(self, job_id: str, after: str = "0") -> AsyncIterator[JobEvent]:
        """Entries as they come, without end: the reader stops at the one it takes for the last."""
        while True:
            try:
                found: Any = await self._client.xread({_key(job_id): after}, block=BLOCK_MS, count=64)
            except (redis.RedisError, OSError):
                await asyncio.sleep(0.5)
                continue
            for _, entries in found or []:
                for raw_id, fields in entries:
                    after = raw_id.decode()
                    data = json.loads(fields[b"data"])
                    yield JobEvent(after, fields[b"event"].decode(), data, fields.get(b"blob", b""))
