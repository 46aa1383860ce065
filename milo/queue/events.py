"""Wakes those who wait for a job: ids that changed, over Redis pub/sub. An id says "read the ledger again", no more."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import redis
import redis.asyncio

from milo.jobs import Job
from milo.queue.connection import redis_client
from milo.settings import Settings

CHANNEL = "milo:changed"
EARLY = "milo:early"
MOST_EARLY = 1000
MOST_IDS = 1000
"""Ids that a slow listener keeps; with more it is told that it has missed some."""


def publisher(settings: Settings) -> Callable[[Sequence[str]], None]:
    """A `notify` for the ledger. A lost wake-up is harmless (waiters also look by themselves): errors are dropped."""
    client = redis_client(settings.redis_url, 0.5)

    def notify(ids: Sequence[str]) -> None:
        with contextlib.suppress(redis.RedisError):
            client.publish(CHANNEL, " ".join(ids))

    return notify


def say_early(settings: Settings, job: Job) -> None:
    """Say how a job ends to whoever waits for it, before that is on the disk. The row follows in milliseconds."""
    fields = {"id", "result", "result_file", "audio_s", "models", "finished_at"}
    with contextlib.suppress(redis.RedisError):
        redis_client(settings.redis_url, 0.5).publish(EARLY, job.model_dump_json(include=fields))


class Changes:
    """What has changed since the listener looked last. Made by `WakeUps.listening`."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self._ids: set[str] = set()
        self._missed = False

    def take(self) -> set[str] | None:
        """The ids of jobs and batches, and forget them. None: some were missed; only the ledger knows which."""
        ids, missed = self._ids, self._missed
        self._ids, self._missed = set(), False
        self.event.clear()
        return None if missed else ids

    def add(self, names: Sequence[str]) -> None:
        self._ids.update(names)
        if len(self._ids) > MOST_IDS:
            self.miss()
        self.event.set()

    def miss(self) -> None:
        self._ids, self._missed = set(), True
        self.event.set()


class WakeUps:
    """One subscription for a whole API process; hands each wake-up to those who wait for that id."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.redis_url
        self._waiters: dict[str, set[asyncio.Event]] = {}
        self._listeners: set[Changes] = set()
        self._early: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._task: asyncio.Task[None] | None = None
        self.connected = False
        """Whether wake-ups arrive at present. While not, waiters look by themselves."""

    async def start(self) -> None:
        self._task = asyncio.create_task(self._listen(), name="events-hub")

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    @contextlib.asynccontextmanager
    async def watching(self, name: str) -> AsyncIterator[asyncio.Event]:
        """An event that is set whenever `name` (a job or batch id) changes. The waiter clears it."""
        event = asyncio.Event()
        self._waiters.setdefault(name, set()).add(event)
        try:
            yield event
        finally:
            waiters = self._waiters[name]
            waiters.discard(event)
            if not waiters:
                del self._waiters[name]

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[Changes]:
        """Everything that changes, of every owner: who listens asks the ledger what of it is theirs."""
        changes = Changes()
        self._listeners.add(changes)
        try:
            yield changes
        finally:
            self._listeners.discard(changes)

    def early(self, job: Job) -> Job | None:
        """The job as it will be in the ledger in a moment: its worker has said so, and somebody here waited for it."""
        found = self._early.get(job.id)
        return None if found is None else job.model_copy(update=found)

    def _hear_early(self, data: bytes) -> None:
        said = json.loads(data)
        name = said.pop("id")
        if name in self._waiters:
            self._early[name] = said | {"state": "succeeded", "error": None}
            while len(self._early) > MOST_EARLY:
                self._early.popitem(last=False)
            self._wake([name])

    def _wake(self, names: Sequence[str]) -> None:
        for name in names:
            for event in self._waiters.get(name, ()):
                event.set()

    async def _listen(self) -> None:
        while True:
            client = redis.asyncio.Redis.from_url(self._url, socket_connect_timeout=2, health_check_interval=25)
            try:
                async with client, client.pubsub() as pubsub:
                    await pubsub.subscribe(CHANNEL, EARLY)
                    self.connected = True
                    self._wake_all()  # what changed while nobody listened
                    async for message in pubsub.listen():
                        if message["type"] != "message":
                            continue
                        if message["channel"] == EARLY.encode():
                            self._hear_early(message["data"])
                            continue
                        names = message["data"].decode().split()
                        for listener in self._listeners:
                            listener.add(names)
                        self._wake(names)
            except (redis.RedisError, OSError):
                self.connected = False
                self._wake_all()  # so that they know
                await asyncio.sleep(1)

    def _wake_all(self) -> None:
        for listener in self._listeners:
            listener.miss()
        for waiters in self._waiters.values():
            for event in waiters:
                event.set()
