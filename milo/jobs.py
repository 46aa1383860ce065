"""The job: its kinds, payloads, states and legal transitions. Data only; `ledger.py` keeps the rows.

Everything here crosses a process boundary, so it is frozen, typed and JSON-safe.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from milo.recipes import Data, Evaluation, Recipe, Task

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


class SttPayload(Frozen):
    """One recording to transcribe."""

    source: AudioSource
    model: str
    language: str | None = None
    task: Literal["transcribe", "translate"] = "transcribe"
    prompt: str | None = Field(None, max_length=2000)
    word_timestamps: bool = True
    beam_size: int = Field(1, ge=1, le=10)
    temperature: float | None = Field(None, ge=0, le=1)
    """None: 0 with fallback to higher ones while a guard rejects the text."""


class TtsPayload(Frozen):
    """One text to speak. `text` has been checked against `Settings.tts_max_chars`."""

    text: str
    model: str
    language: str = "mg"
    voice: str | None = None
    speed: float = Field(1.0, ge=0.25, le=4)
    sample_rate_hz: int | None = Field(None, ge=8000, le=48000)
    """None: the engine's own."""
    format: Literal["wav", "flac", "ogg", "opus", "mp3", "aac", "pcm"] = "wav"
    stream: bool = False
    """The file is also said (`milo.queue.streams`) in pieces, each sentence as it is ready."""
    name: str | None = None
    """What people call it; also the stem of result files."""


class TranslatePayload(Frozen):
    """Texts to translate, each on its own."""

    texts: tuple[str, ...] = Field(min_length=1)
    source: str
    target: str
    model: str
    name: str | None = None
    """What people call it; also the stem of result files."""


class ChatTurn(Frozen):
    role: Literal["system", "user", "assistant"]
    content: str


class ChatPayload(Frozen):
    """One message of a session, or (`messages`, the OpenAI route) a whole conversation that the client keeps."""

    message: str = ""
    messages: tuple[ChatTurn, ...] = ()
    session_id: str | None = None
    ticket: int | None = None
    """The message's place in the order of its session."""
    language: str | None = None
    max_tokens: int = Field(512, ge=1, le=8192)
    temperature: float = Field(0.7, ge=0, le=2)
    voice_mode: bool = False
    """Speak the reply, too."""
    tts_model: str | None = None
    voice: str | None = None
    speed: float = Field(1.0, ge=0.25, le=4)
    stream: bool = False


class ConversePayload(Frozen):
    """One utterance of a voice conversation: heard, answered and spoken by one task, each step said at once."""

    source: AudioSource
    """16 kHz mono wav, an utterance that the front's VAD has cut out."""
    session_id: str
    ticket: int
    stt_model: str
    tts_model: str
    language: str | None = None
    voice: str | None = None
    max_tokens: int = Field(256, ge=1, le=8192)


class TrainingPayload(Frozen):
    """One training, by its recipe."""

    recipe: Recipe
    name: str | None = None
    """What people call it: the recipe's name."""


class EvaluationPayload(Frozen):
    """One model judged on one split of one data set."""

    model: str
    data: Data
    task: Task = "whisper"
    evaluation: Evaluation = Evaluation()
    name: str | None = None


class PipelinePayload(Frozen):
    """Baseline, training, evaluation of the best checkpoint, comparison, gated deploy, summary."""

    recipe: Recipe
    name: str | None = None


class DeployPayload(Frozen):
    """A folder that shall serve under a name, if the gates let it pass (`trainer.deploy.gated`)."""

    model: str
    """Name in the registry."""
    path: str
    """A checkpoint, or any model folder."""
    base: str | None = None
    """The model it was trained from: what the folder lacks comes from there."""
    task: Task = "whisper"
    data: Data | None = None
    """What it is judged on against what serves. None: it is only tried out."""
    evaluation: Evaluation = Evaluation()
    half: bool = False
    """Store the weights in float16."""
    name: str | None = None


class PingPayload(Frozen):
    """A job that does nothing: `milo doctor` and the queue benchmark send it through the whole system."""

    seconds: float = Field(0, ge=0, le=60)
    """How long to pretend to work, in steps of 10 ms with a yield point after each."""


@dataclass(frozen=True)
class Kind:
    """`stages` in order: the first part of each name is the worker pool it runs on (`cpu` or `gpu`)."""

    payload: type[BaseModel]
    stages: tuple[tuple[str, str], ...]
    inputs: tuple[str, ...] = ()
    """Fields of the payload that differ between jobs which may still share an engine batch."""

    def pool(self, stage: str) -> str:
        return dict(self.stages)[stage]


KINDS: dict[str, Kind] = {
    "stt": Kind(SttPayload, (("decode", "cpu"), ("transcribe", "gpu")), inputs=("source",)),
    "tts": Kind(TtsPayload, (("speak", "gpu"),)),
    "translate": Kind(TranslatePayload, (("translate", "gpu"),), inputs=("texts", "name")),
    "chat": Kind(ChatPayload, (("chat", "gpu"),)),
    "converse": Kind(ConversePayload, (("converse", "gpu"),)),
    "training": Kind(TrainingPayload, (("train", "gpu"),)),
    "evaluation": Kind(EvaluationPayload, (("evaluate", "gpu"),)),
    "pipeline": Kind(
        PipelinePayload,
        (("baseline", "gpu"), ("train", "gpu"), ("judge", "gpu"), ("deploy", "gpu"), ("summary", "cpu")),
    ),
    "deploy": Kind(DeployPayload, (("deploy", "gpu"),)),
    "ping": Kind(PingPayload, (("ping", "gpu"),)),
}


def queue_for(kind: str, stage: str, priority: str) -> str:
    """The Celery queue of a stage. Archives are decoded apart (`cpu.batch`), so they never delay a single request."""
    if KINDS[kind].pool(stage) == "gpu":
        return f"gpu.{priority}"
    return "cpu" if priority in ("realtime", "interactive") else "cpu.batch"


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
