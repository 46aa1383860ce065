"""What Redis and NVML say at this moment, read in one go: queues, workers, beat, pauses, cards. Never raises."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypedDict

import redis

from milo import gpu as nvml
from milo.gpu import Gpu, GpuReading
from milo.jobs import QUEUES
from milo.queue import pause
from milo.queue.connection import redis_client
from milo.settings import Settings

BEAT_KEY = "milo:beat"
"""Redis hash: tick -> when it ran last, in unix seconds."""
STEPS_KEY = "milo:watch:steps"
"""Redis hash: job -> what the watchdog saw of its steps."""
TIMEOUT_S = 0.5

read_gpus: Callable[[], GpuReading] = nvml.read
"""The seam: tests put temperatures here. Another process's readings come with the note of a GPU worker."""


class GpuNote(TypedDict):
    """`milo.gpu.GpuReading` as JSON."""

    gpus: list[dict[str, Any]]
    reason: str | None


class _WorkerProcess(TypedDict):
    node: str
    queues: list[str]
    pid: int
    at: float


class WorkerNote(_WorkerProcess, total=False):
    """What a worker leaves in Redis every few seconds; it ends by itself when the worker has died."""

    gpu: GpuNote | None
    """Of a GPU worker: the cards that it sees."""


class StepRecord(TypedDict):
    """What the watchdog saw last of a training's steps. Times are unix seconds."""

    fence: int
    mark: list[float | None]
    step: int | None
    since: float
    limit_s: float
    first: bool


@dataclass(frozen=True)
class RedisState:
    """A moment. Empty where Redis does not answer; `redis_error` says why."""

    at: float
    redis_error: str | None = None
    depths: dict[str, int] = field(default_factory=dict)
    workers: list[WorkerNote] = field(default_factory=list)
    beat: dict[str, float] = field(default_factory=dict)
    pauses: list[pause.Pause] = field(default_factory=list)
    steps: dict[str, StepRecord] = field(default_factory=dict)
    cards: GpuReading = GpuReading((), "not read")

    def serving(self, queue: str) -> list[str]:
        """Names of the workers that serve a queue."""
        return sorted(worker["node"] for worker in self.workers if queue in worker["queues"])

    def beat_age_s(self) -> float | None:
        """Seconds since the last tick of any kind; None: none is known."""
        return self.at - max(self.beat.values()) if self.beat else None


def read(settings: Settings) -> RedisState:
    """The state of this moment. A Redis that hangs costs half a second."""
    now = time.time()
    client = redis_client(settings.redis_url, TIMEOUT_S)
    try:
        pipe = client.pipeline(transaction=False)
        for queue in QUEUES:
            pipe.llen(queue)
        for key in (BEAT_KEY, pause.KEY, STEPS_KEY):
            pipe.hgetall(key)
        *lengths, beat, pauses, steps = pipe.execute()
        keys = sorted(client.scan_iter("milo:worker:*", count=1000))
        notes = [json.loads(note) for note in client.mget(keys) if note] if keys else []
    except (redis.RedisError, ValueError) as error:
        return RedisState(now, redis_error=f"Redis does not answer: {error}", cards=read_gpus())
    return RedisState(
        now,
        depths=dict(zip(QUEUES, lengths, strict=True)),
        workers=notes,
        beat={name.decode(): float(at) for name, at in beat.items()},
        pauses=pause.parse(pauses),
        steps={job.decode(): json.loads(value) for job, value in steps.items()},
        cards=cards(notes),
    )


def cards(notes: list[WorkerNote]) -> GpuReading:
    """The cards that this process sees; else those that a GPU worker tells of, which may be in another container."""
    here = read_gpus()
    if here.gpus:
        return here
    newest_first = sorted(notes, key=lambda note: float(note["at"]), reverse=True)
    reading = next((gpu for note in newest_first if (gpu := note.get("gpu")) and gpu["gpus"]), None)
    return GpuReading(tuple(Gpu(**card) for card in reading["gpus"])) if reading else here
