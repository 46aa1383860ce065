"""The fields of the status document and their types. JSON has them under these names and in this order.

Monitors poll them, so a name is never changed; a field of something that is not there is null. `docs/operations.md`
says what they mean. Typed dictionaries, because the document is built once a second and sent as it is: nothing is
validated for a request.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from milo.storage.json_lines import Row

Phase = Literal[
    "idle",
    "preprocessing",
    "training",
    "training_done",
    "evaluating",
    "evaluation_done",
    "waiting_for_room",
    "waiting",
    "stalled",
    "cancelled",
]
Level = Literal["warning", "critical"]


class TrainingStatus(TypedDict):
    """The training that is shown. Times are seconds, dates ISO 8601."""

    step: int | None
    total_steps: int | None
    pct: float | None
    eta: str | None
    eta_s: float | None
    speed: float | None
    last_loss: float | None
    epoch: float | None
    state: str | None
    task: str | None
    model: str | None
    best: Row | None
    run: str | None
    job: str | None
    job_state: str | None
    still_s: float | None
    stuck_after_s: float | None
    started_at: str | None
    updated_at: str | None
    loss_ratio: float | None
    last_sign_at: str | None
    waits_for: str | None


class CardStatus(TypedDict):
    """One card. MB are MiB, as nvidia-smi's."""

    name: str | None
    gpu_util_pct: int | None
    vram_used_mb: int | None
    vram_total_mb: int | None
    temp_c: float | None
    power_w: float | None


class GpuStatus(CardStatus):
    """The first card, why there is none, and all of them."""

    reason: str | None
    cards: list[CardStatus]


class EvaluationResults(TypedDict):
    """WER and CER as fractions and in percent."""

    wer: float | None
    cer: float | None
    wer_pct: float | None
    cer_pct: float | None


class _EvaluationState(TypedDict):
    state: Literal["done", "none"]
    results: EvaluationResults | None


class EvaluationStatus(_EvaluationState, total=False):
    """The last evaluation of the speech-to-text model that serves, else the last of any; before the first, only
    `state` (`none`) and `results` (null). `model`, `status` to `interval` are those of its report.
    """

    model: Any
    serves: bool
    status: Any
    items: Any
    interval: Any
    key: str
    at: str | None


class PauseStatus(TypedDict):
    """Why background work rests."""

    rule: str
    seen: str
    since: str | None


class QueueStatus(TypedDict):
    """One queue: messages that wait, the age of its first job, who serves it."""

    depth: int | None
    oldest_s: float | None
    workers: list[str]


class JobProgressStatus(TypedDict):
    done: float
    total: float | None
    unit: str


class JobStatus(TypedDict):
    """A training, evaluation or pipeline that has not ended."""

    id: str
    kind: str
    state: str
    stage: str
    progress: JobProgressStatus
    due_at: str | None
    worker: str | None


class ModelStatus(TypedDict):
    """What one setting names, and whether it can serve."""

    use: str
    setting: str
    name: str
    ok: bool
    problem: str | None


class WorkerStatus(TypedDict):
    node: str
    queues: list[str]


class DiskStatus(TypedDict):
    """Room where the training that goes on has its run, which may be another disk; else where MILO_HOME is."""

    where: str
    free_bytes: int | None
    total_bytes: int | None
    needed_bytes: int


class PartStatus(TypedDict):
    """Whether Redis, or the ledger, answers."""

    ok: bool
    detail: str


class AlertStatus(TypedDict):
    """One alert, on or off: a row of `milo.monitoring.alerts.ALERTS` and its value."""

    name: str
    level: Level
    field: str
    threshold: str
    means: str
    value: float | bool | None
    active: bool
    since: str | None


class MeasuredStatus(TypedDict):
    """All of the document that alerts are judged by."""

    phase: Phase
    training: TrainingStatus
    gpu: GpuStatus
    orchestrator: bool
    orchestrator_reason: str
    auto_fixes: int
    run_alerts: list[Row]
    fixes: list[Row]
    checkpoints: list[str]
    eval: EvaluationStatus
    paused: list[PauseStatus]
    queues: dict[str, QueueStatus]
    people_wait_s: float | None
    jobs: list[JobStatus]
    workers: list[WorkerStatus]
    models: list[ModelStatus]
    disk: DiskStatus
    redis: PartStatus
    ledger: PartStatus
    beat_age_s: float | None
    version: str
    updated_at: str | None


class Status(MeasuredStatus):
    """The whole document."""

    alerts: list[AlertStatus]
