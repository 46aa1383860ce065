"""Jobs and batches as the server shows them to a client. Times are RFC 3339 in UTC."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from milo.errors import Conflict, MiloError


class Progress(BaseModel):
    model_config = ConfigDict(frozen=True)

    done: float = 0
    total: float | None = None
    unit: str = "items"


class Job(BaseModel):
    """A job as the server shows it."""

    model_config = ConfigDict(frozen=True, extra="allow")

    id: str
    kind: str
    state: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    priority: str = ""
    owner: str = ""
    batch_id: str | None = None
    batch_index: int | None = None
    payload: dict[str, Any] = {}
    progress: Progress = Progress()
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    attempt: int = 1
    created_at: str = ""
    started_at: str | None = None
    finished_at: str | None = None
    audio_s: float | None = None
    compute_s: float | None = None
    models: dict[str, str] = {}
    queue_position: int | None = None
    eta_s: float | None = None
    version: int = 0
    revision: int = 0
    """How often people have edited its transcript."""

    @property
    def final(self) -> bool:
        return self.state in ("succeeded", "failed", "cancelled")

    @property
    def name(self) -> str:
        """What people call its recording."""
        source = self.payload.get("source")
        return str(source.get("name", "")) if isinstance(source, dict) else ""

    def check(self) -> Job:
        """The job itself, if it succeeded. Raises the error it failed with."""
        if self.state == "failed":
            raise MiloError.from_problem(self.error or {"detail": f"job {self.id} failed"})
        if self.state == "cancelled":
            raise Conflict(f"job {self.id} was cancelled", code="cancelled")
        return self


class Batch(BaseModel):
    """A batch as the server shows it."""

    model_config = ConfigDict(frozen=True, extra="allow")

    id: str
    kind: str
    name: str
    state: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    total: int
    counts: dict[str, int] = {}
    audio_s: float = 0
    done_audio_s: float = 0
    created_at: str = ""
    finished_at: str | None = None
    eta_s: float | None = None
    version: int = 0

    @property
    def done(self) -> int:
        """Jobs that have ended, well or not."""
        return sum(self.counts.get(state, 0) for state in ("succeeded", "failed", "cancelled"))

    @property
    def final(self) -> bool:
        return self.state in ("succeeded", "failed", "cancelled")
