"""The status document: everything a monitor asks for, built from Redis, the ledger, the run folders and NVML.

`build` makes it anew; `milo.monitoring.cache` keeps it for a second; beat writes it to `MILO_HOME/status/status.json`.
`milo.monitoring.schema` has its fields.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import func, select

from milo import __version__
from milo.configured import Configured, configured
from milo.errors import MiloError
from milo.gpu import GpuReading
from milo.jobs import QUEUES, Job, iso
from milo.ledger import Ledger
from milo.ledger.database import reading
from milo.ledger.schema import jobs
from milo.models import registry
from milo.models.files import MANIFEST, read_json
from milo.monitoring import alerts, redis_state, space, training
from milo.monitoring.redis_state import RedisState, StepRecord
from milo.monitoring.schema import (
    CardStatus,
    EvaluationStatus,
    GpuStatus,
    JobStatus,
    MeasuredStatus,
    ModelStatus,
    QueueStatus,
    Status,
)
from milo.monitoring.training import ShownTraining
from milo.settings import Settings
from milo.storage import json_lines
from milo.training import evaluations

BEAT_LATE_S = 60.0
"""Beat ticks every few seconds; one that is silent for this long is gone."""
FIXES = 20
RECENT = 50
"""Evaluations among which that of the model that serves is looked for."""
NO_LEDGER = "the ledger does not answer"


def build(settings: Settings, ledger: Ledger, before: Status | None = None) -> Status:
    """The document of this moment. `before` is the last one, for the times since when alerts are on. Never raises
    for what is away: its fields are null then."""
    state = redis_state.read(settings)
    try:
        active = training.active_jobs(ledger)
        current = training.shown(settings, active, ledger, state.pauses, state.at)
        oldest, ledger_error = _oldest(ledger), None
    except MiloError as error:
        active, oldest, ledger_error = [], {}, error.detail
        current = training.shown(settings, [])
    evaluation, evaluated_at = _evaluation(settings)
    orchestrator, why = _orchestrator(state)
    document: MeasuredStatus = {
        "phase": training.phase_of(active, current, evaluated_at),
        "training": training.section(current, _step_of(state, current), state.at),
        "gpu": gpu_section(state.cards),
        "orchestrator": orchestrator,
        "orchestrator_reason": why,
        "auto_fixes": training.fixes_of(current.run),
        "run_alerts": json_lines.tail(current.run.path / "alerts.jsonl")[-FIXES:] if current.run else [],
        "fixes": json_lines.tail(settings.home / "status" / "fixes.jsonl")[-FIXES:],
        "checkpoints": [path.name for path in current.run.checkpoints().values()] if current.run else [],
        "eval": evaluation,
        "paused": [{"rule": one.rule, "seen": one.seen, "since": iso(one.since)} for one in state.pauses],
        "queues": _queues(state, oldest),
        "people_wait_s": max((round(state.at - oldest[name], 1) for name in OF_PEOPLE if name in oldest), default=None),
        "jobs": [_job(job) for job in active[:FIXES]],
        "workers": [{"node": one["node"], "queues": one["queues"]} for one in state.workers],
        "models": [_model(one) for one in configured(settings)],
        "disk": space.disk(settings, current.run, goes_on=current.job is not None),
        "redis": {"ok": state.redis_error is None, "detail": state.redis_error or "answers"},
        "ledger": {"ok": ledger_error is None, "detail": ledger_error or "answers"},
        "beat_age_s": _rounded(state.beat_age_s()),
        "version": __version__,
        "updated_at": iso(state.at),
    }
    return {**document, "alerts": alerts.judge(document, before)}


def _step_of(state: RedisState, current: ShownTraining) -> StepRecord | None:
    return state.steps.get(current.job.id) if current.job else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _orchestrator(state: RedisState) -> tuple[bool, str]:
    """Whether a training or a pipeline would go on by itself: somebody serves its queues, and beat looks after it."""
    if state.redis_error:
        return False, state.redis_error
    gpu, cpu, age_s = state.serving("gpu.background"), state.serving("cpu"), state.beat_age_s()
    missing = [name for name, nodes in (("gpu.background", gpu), ("cpu", cpu)) if not nodes]
    if missing:
        return False, f"no worker serves {' and '.join(missing)}"
    if age_s is None or age_s > BEAT_LATE_S:
        return False, "beat has not ticked" + ("" if age_s is None else f" for {age_s:.0f} s")
    return True, f"{gpu[0]} serves gpu.background, {cpu[0]} serves cpu, beat ticked {age_s:.0f} s ago"


OF_PEOPLE = ("gpu.realtime", "gpu.interactive")
"""The queues of work that somebody waits for."""
NO_CARD: CardStatus = {
    "name": None,
    "gpu_util_pct": None,
    "vram_used_mb": None,
    "vram_total_mb": None,
    "temp_c": None,
    "power_w": None,
}


def gpu_section(cards: GpuReading) -> GpuStatus:
    """`gpu`: the first card under the monitor's names (MB are MiB, as nvidia-smi's), and all of them."""
    rows: list[CardStatus] = [
        {
            "name": card.name,
            "gpu_util_pct": None if card.utilization is None else round(100 * card.utilization),
            "vram_used_mb": card.memory_used_bytes // 1024**2,
            "vram_total_mb": card.memory_total_bytes // 1024**2,
            "temp_c": card.temperature_c,
            "power_w": card.power_w,
        }
        for card in cards.gpus
    ]
    first = rows[0] if rows else NO_CARD
    return {**first, "reason": cards.reason, "cards": rows}


def _oldest(ledger: Ledger) -> dict[str, float]:
    """Queue -> when its first waiting job was accepted, in unix seconds."""
    accepted_at = {}
    with reading(ledger.engine) as connection:
        for queue in QUEUES:
            waiting = select(jobs.c.created_at).where(jobs.c.queue == queue, jobs.c.state == "queued")
            # by the index, so that a long queue costs no more than a short one
            first = waiting.where(jobs.c.published_at.is_not(None)).order_by(jobs.c.published_at).limit(1)
            created_at = connection.execute(first).scalar()
            if created_at is None:  # all of them wait for their time
                later = select(func.min(jobs.c.created_at)).where(jobs.c.queue == queue, jobs.c.state == "queued")
                created_at = connection.execute(later.where(jobs.c.published_at.is_(None))).scalar()
            if created_at is not None:
                accepted_at[queue] = float(created_at)
    return accepted_at


def _queues(state: RedisState, oldest: dict[str, float]) -> dict[str, QueueStatus]:
    return {
        queue: {
            "depth": state.depths.get(queue),
            "oldest_s": round(state.at - oldest[queue], 1) if queue in oldest else None,
            "workers": state.serving(queue),
        }
        for queue in QUEUES
    }


def _job(job: Job) -> JobStatus:
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state,
        "stage": job.stage,
        "progress": {"done": job.progress.done, "total": job.progress.total, "unit": job.progress.unit},
        "due_at": iso(job.due_at),
        "worker": job.worker,
    }


def _model(one: Configured) -> ModelStatus:
    return {
        "use": one.part,
        "setting": one.variable,
        "name": Path(one.name).name if one.name.startswith(("/", "~", ".")) else one.name,
        "ok": one.usable,
        "problem": one.public,
    }


def _evaluation(settings: Settings) -> tuple[EvaluationStatus, float | None]:
    """`eval`: the last evaluation of the model that serves, else the last of any; and when the last of any ended, in
    unix seconds."""
    finished = [(one, report) for one in evaluations.all_finished(settings)[:RECENT] if (report := one.report())]
    if not finished:
        return {"state": "none", "results": None}, None
    marks = _serving(settings)
    of_serving = next((pair for pair in finished if _marks(pair[1]) & marks), None)
    stored, report = of_serving or finished[0]
    wer, cer = _rate(report, "wer"), _rate(report, "cer")
    evaluation: EvaluationStatus = {
        "state": "done",
        "results": {"wer": wer, "cer": cer, "wer_pct": _percent(wer), "cer_pct": _percent(cer)},
        "model": report.get("model"),
        "serves": of_serving is not None,
        "status": report.get("status"),
        "items": report.get("items"),
        "interval": report.get("interval"),
        "key": stored.key,
        "at": iso(stored.ended_at()),
    }
    return evaluation, finished[0][0].ended_at()


def _serving(settings: Settings) -> set[str]:
    """By what a report may name the speech-to-text model that serves: its label, its hash, where it was copied from."""
    try:
        model = registry.resolve(settings, settings.stt_model)
        manifest = read_json(model.path / MANIFEST) if (model.path / MANIFEST).is_file() else {}
    except MiloError:
        return set()
    marks = (model.label, model.sha256, str(model.path), manifest.get("source"))
    return {str(mark) for mark in marks if mark}


def _marks(report: evaluations.Report) -> set[str]:
    model = report.get("model")
    return {str(model.get(name)) for name in ("label", "sha256", "path")} if isinstance(model, dict) else set()


def _rate(report: evaluations.Report, name: str) -> float | None:
    value = report.get(name)
    value = value.get("value") if isinstance(value, dict) else value
    return round(float(value), 6) if isinstance(value, (int, float)) else None


def _percent(value: float | None) -> float | None:
    return None if value is None else round(100 * value, 2)
