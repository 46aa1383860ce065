"""One stream of events for everything of a key: its jobs and batches as they change. Reads the ledger; a wake-up of
Redis only says when."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.responses import Response

from api.answers.documents import batch_document, job_document
from api.answers.events import PING_S, RETRY_MS, SAFETY_LOOK_S, SHUTDOWN_GRACE_S, next_change
from api.answers.results import source_name
from api.http.deps import Context, in_thread
from milo.errors import MiloError, NotFound, TooMany
from milo.jobs import Job, iso
from milo.ledger.keys import Key
from milo.queue.events import Changes

GAP_S = 0.25
"""The shortest time between two looks: what changes twice in it is one event."""
BATCH_GAP_S = 1.0
"""The same for batches: to count one is to read all its jobs."""
MAX_STREAMS = 32
"""Streams of one key at once."""
MOST_JOBS = 1000
"""Changed jobs that a stream which comes back is told; with more the client must read the lists again."""
SLACK_S = 5.0
"""Clocks of several machines, and a transaction that ended later than it says."""


@dataclass
class _Feed:
    """What one stream knows."""

    context: Context
    key: Key
    changes: Changes
    swept_at: float
    """Unix seconds: everything before it was told, whether or not its wake-up came."""
    versions: dict[str, int] = field(default_factory=dict)
    batches: set[str] = field(default_factory=set)
    """Changed, and not told yet."""
    batches_told_at: float = 0.0

    async def news(self) -> list[ServerSentEvent]:
        """Events for what has changed since the last look."""
        ids, now = self.changes.take(), self.context.ledger.clock()
        if ids is None or self._is_late(now):
            found = await in_thread(
                self.context.ledger.changed_since, self.swept_at - SLACK_S, self.key.owner, MOST_JOBS + 1
            )
            self.swept_at = now
        else:
            wanted = sorted(name for name in ids if name.startswith("job_"))
            found = await in_thread(self.context.ledger.jobs_of, wanted, self.key.owner) if wanted else []
            self.batches |= {name for name in ids if name.startswith("batch_")}
        if len(found) > MOST_JOBS:
            return [self._event("reload", {"time": iso(now)})]
        self.batches |= {job.batch_id for job in found if job.batch_id}
        news = [self._event("job", _job(job)) for job in found if self._is_new(job)]
        return news + await self._batch_news(now)

    def _is_late(self, now: float) -> bool:
        """Redis is away, or its wake-ups may have been lost: look at the ledger, as other waiters do."""
        return not self.context.wake_ups.connected or now - self.swept_at >= SAFETY_LOOK_S

    def _is_new(self, job: Job) -> bool:
        if self.versions.get(job.id) == job.version:
            return False
        self.versions[job.id] = job.version
        while len(self.versions) > 2 * MOST_JOBS:
            self.versions.pop(next(iter(self.versions)))
        return True

    async def _batch_news(self, now: float) -> list[ServerSentEvent]:
        if not self.batches or 0 <= now - self.batches_told_at < BATCH_GAP_S:
            return []
        self.batches_told_at = now
        ids, self.batches = sorted(self.batches), set()
        news = []
        for batch_id in ids[:MOST_JOBS]:
            try:
                batch = await in_thread(self.context.ledger.batch, batch_id, self.key.owner)
            except NotFound:
                continue
            news.append(self._event("batch", batch_document(batch)))
        return news

    def _event(self, name: str, document: dict[str, Any]) -> ServerSentEvent:
        data = json.dumps(document, ensure_ascii=False)
        return ServerSentEvent(data, event=name, id=str(round(self.swept_at * 1000)), retry=RETRY_MS)


def _job(job: Job) -> dict[str, Any]:
    """The job without what may be long: its payload and its result."""
    document = job_document(job)
    return {name: value for name, value in document.items() if name not in ("payload", "result")} | {
        "name": source_name(job)
    }


def feed(context: Context, key: Key, last_event_id: str | None, still_valid: Callable[[], Awaitable[bool]]) -> Response:
    """The stream. `still_valid` is asked now and then whether the key is still one. Raises `TooMany`."""
    streams: Counter[str] = context.notes.setdefault("streams", Counter())
    if streams[key.name] >= MAX_STREAMS:
        raise TooMany(
            f"{MAX_STREAMS} streams of this key are open; close one", code="too_many_streams", retry_after_s=10
        )

    async def events() -> AsyncIterator[ServerSentEvent]:
        async with context.wake_ups.listening() as changes:
            with _counted(streams, key.name):
                async for event in _follow(_Feed(context, key, changes, _seen(context, last_event_id))):
                    yield event

    async def _follow(told: _Feed) -> AsyncIterator[ServerSentEvent]:
        if last_event_id:
            told.changes.miss()
        else:
            yield told._event("hello", {"time": iso(told.swept_at)})
        checked_at = 0.0
        while True:
            now = asyncio.get_running_loop().time()
            if now - checked_at > SAFETY_LOOK_S:
                checked_at = now
                if not await still_valid():
                    return
            try:
                for event in await told.news():
                    yield event
            except MiloError:  # the ledger does not answer: what changed is told when it does
                told.changes.miss()
            most_s = BATCH_GAP_S if told.batches else SAFETY_LOOK_S
            if not await next_change(context, told.changes.event, most_s):
                return
            await asyncio.sleep(GAP_S)

    return EventSourceResponse(
        events(), ping=PING_S, shutdown_event=anyio.Event(), shutdown_grace_period=SHUTDOWN_GRACE_S
    )


@contextmanager
def _counted(streams: Counter[str], name: str) -> Any:
    streams[name] += 1
    try:
        yield
    finally:
        streams[name] -= 1


def _seen(context: Context, last_event_id: str | None) -> float:
    """Unix seconds of the last event that the client has seen. What makes no sense is now."""
    now = context.ledger.clock()
    if last_event_id and re.fullmatch(r"[0-9]{1,15}", last_event_id):
        return min(now, int(last_event_id) / 1000)
    return now
