"""The job: its states, legal transitions, queues and row. Data only: `milo.ledger` keeps the rows.

Everything here crosses a process boundary, so it is frozen, typed and JSON-safe.
"""

from __future__ import annotations

import secrets
import time
from datetime import datetime, timezone
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
STATES: tuple[State, ...] = get_args(State)
FINAL: tuple[State, ...] = ("succeeded", "failed", "cancelled")
TRANSITIONS: dict[State, tuple[State, ...]] = {
    "queued": ("running", "cancelled", "failed"),
    "running": ("queued", "succeeded", "failed", "cancelled"),
    "succeeded": (),
    "failed": ("queued",),  # by hand: POST /jobs/{id}/retry
    "cancelled": ("queued",),
}

Priority = Literal["realtime", "interactive", "batch", "background"]
"""realtime: a person is waiting; interactive: one async request; batch: archives; background: training, evaluation."""
PRIORITIES: tuple[Priority, ...] = get_args(Priority)

OPERATOR = "operator"
"""Owner of jobs made with the operator's key."""

GPU_QUEUES: tuple[str, ...] = tuple(f"gpu.{priority}" for priority in PRIORITIES)
CPU_QUEUES: tuple[str, ...] = ("cpu", "cpu.batch")
QUEUES: tuple[str, ...] = GPU_QUEUES + CPU_QUEUES


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AudioSource(Frozen):
    """Where the audio of a job is: an uploaded blob, or a file under one of `Settings.audio_roots`."""

    blob: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    """sha256 of the uploaded bytes."""
    path: str | None = None
    """Path or URL under an allowed root; read where it lies, not copied."""
    name: str = "audio"
    """What people call it; also the stem of result files."""

    @model_validator(mode="after")
    def _one_place(self) -> AudioSource:
        if (self.blob is None) == (self.path is None):
            raise ValueError("name exactly one of `blob` and `path`")
        return self


class Progress(Frozen):
    done: float = 0
    total: float | None = None
    unit: str = "items"


class Job(Frozen):
    """One row of the ledger. Times are unix seconds."""

    id: str
    kind: str
    state: State
    stage: str
    queue: str
    priority: Priority
    owner: str
    payload: dict[str, Any]
    progress: Progress = Progress()
    result: dict[str, Any] | None = None
    result_file: str | None = None
    error: dict[str, Any] | None = None
    attempt: int = 1
    max_attempts: int = 3
    fence: int = 0
    slices: int = 0
    version: int = 0
    """Counts every change of the row: the id of its events."""
    worker: str | None = None
    lease_expires_at: float | None = None
    cancel_requested: bool = False
    created_at: float
    due_at: float | None = None
    published_at: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    audio_s: float | None = None
    compute_s: float = 0
    batch_id: str | None = None
    batch_index: int | None = None
    callback_url: str | None = None
    idempotency_key: str | None = None
    models: dict[str, str] = {}
    schema_version: int = 1
    revision: int = 0
    """How often people have edited its transcript."""

    @property
    def final(self) -> bool:
        return self.state in FINAL


class NewJob(Frozen):
    """What `ledger.create` needs. `payload` has been checked against the kind's model."""

    kind: str
    payload: dict[str, Any]
    owner: str
    priority: Priority
    stage: str | None = None
    """None: the kind's first."""
    callback_url: str | None = None
    idempotency_key: str | None = None
    fingerprint: str | None = None
    """Hash of the request, to tell a repeat from a different request under the same key."""
    max_attempts: int = 3
    batch_id: str | None = None
    batch_index: int | None = None


class Batch(Frozen):
    """Many jobs of one kind that were submitted, and are watched and fetched, together."""

    id: str
    kind: str
    name: str
    owner: str
    total: int
    remaining: int
    created_at: float
    finished_at: float | None = None
    callback_url: str | None = None
    idempotency_key: str | None = None
    options: dict[str, Any] = {}
    counts: dict[str, int] = {}
    """Jobs by state."""
    audio_s: float = 0
    """Seconds of audio in the jobs decoded so far."""
    done_audio_s: float = 0
    version: int = 0

    @property
    def state(self) -> str:
        """queued, running, succeeded (all), failed (some failed), cancelled (all that did not finish)."""
        if self.remaining > 0:
            return "queued" if self.counts.get("queued", 0) == self.total else "running"
        if self.counts.get("failed"):
            return "failed"
        return "cancelled" if self.counts.get("cancelled") else "succeeded"


def new_id(prefix: str) -> str:
    """`prefix_` + 12 hex digits of milliseconds + 12 of chance: unique, and sorts by time."""
    return f"{prefix}_{int(time.time() * 1000):012x}{secrets.token_hex(6)}"


def iso(unix_s: float | None) -> str | None:
    """RFC 3339 in UTC with milliseconds, or None."""
    if unix_s is None:
        return None
    return datetime.fromtimestamp(unix_s, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
