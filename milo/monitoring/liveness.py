"""Does a training that has begun live, and if it stands still, what for? From its job's lease and its run's summary.

A process that was stopped or killed writes nothing more, and what it wrote last still says "training, 2:16 to go": so
each reader asks here first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from milo.jobs import Job
from milo.queue.pause import Pause
from milo.settings import Settings
from milo.storage.json_lines import Row
from milo.training.runs import WAITS_FOR_ROOM

NO_ROOM = ("no_room", "storage", "out_of_memory")
"""Codes of the errors that a job carries while it waits for room, on the disk or on the card."""
NO_ROOM_PAUSE = "disk_full"
SILENT_SHARE = 0.75
"""Of the length of a lease."""


@dataclass(frozen=True)
class Liveness:
    """What is known of a training whose job has not ended. Times are unix seconds."""

    last_sign_at: float | None
    silent: bool
    """Nothing was heard for longer than a training that goes on needs."""
    waits_for: str | None = None
    """A sentence: why it stands still."""
    for_room: bool = False
    """It waits for room on the disk or on the card."""


def liveness(settings: Settings, job: Job, summary: Row, pauses: Sequence[Pause], now: float) -> Liveness:
    """A lease is renewed every third of its length while a step takes long: most of it without is too much."""
    last_at = _last_sign(settings, job, summary)
    silent = last_at is not None and now - last_at > SILENT_SHARE * settings.lease_s
    if job.state != "queued":
        return Liveness(last_at, silent)
    if why := _room(job, summary, pauses):
        return Liveness(last_at, silent, why, True)
    if pauses:
        return Liveness(last_at, silent, pauses[0].seen)
    if job.due_at is not None and job.error:
        return Liveness(last_at, silent, f"another attempt after: {job.error.get('detail')}")
    return Liveness(last_at, silent, f"its turn in the queue {job.queue}" if silent else None)


def is_silent(settings: Settings, job: Job, now: float) -> bool:
    """Whether the worker that runs the job has not renewed its lease for too long: it was stopped, or is gone."""
    left_s = job.lease_expires_at - now if job.lease_expires_at is not None else settings.lease_s
    return job.state == "running" and left_s < (1 - SILENT_SHARE) * settings.lease_s


def _last_sign(settings: Settings, job: Job, summary: Row) -> float | None:
    wrote_at = summary.get("updated_at")
    renewed_at = job.lease_expires_at - settings.lease_s if job.lease_expires_at is not None else None
    signs = [float(at) for at in (wrote_at, renewed_at) if isinstance(at, (int, float))]
    return max(signs, default=None)


def _room(job: Job, summary: Row, pauses: Sequence[Pause]) -> str | None:
    full = next((one for one in pauses if one.rule == NO_ROOM_PAUSE), None)
    if full is not None:
        return full.seen
    error = job.error or {}
    if job.due_at is not None and error.get("code") in NO_ROOM:
        return str(error.get("detail"))
    if summary.get("state") == WAITS_FOR_ROOM:
        return str(summary.get("error"))
    return None
