"""The status document: everything a monitor asks for, built from Redis, the ledger, the run folders and NVML.

`build` makes it anew; `milo.monitoring.cache` keeps it for a second; beat writes it to `MILO_HOME/status/status.json`.
The fields that a monitor polls (`phase`, `training.step`, `gpu.temp_c`, …) keep their names.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from milo import __version__
from milo.errors import MiloError
from milo.gpu import GpuReading
from milo.jobs import QUEUES, iso
from milo.ledger import Ledger
from milo.ledger.database import reading
from milo.ledger.schema import jobs
from milo.monitoring import alerts, redis_state, store, training
from milo.monitoring.redis_state import RedisState
from milo.monitoring.training import ShownTraining
from milo.settings import Settings
from milo.training.runs import Run

BEAT_LATE_S = 60.0
"""Beat ticks every few seconds; one that is silent for this long is gone."""
FIXES = 20
NO_LEDGER = "the ledger does not answer"


def build(settings: Settings, ledger: Ledger, before: dict[str, Any] | None = None) -> dict[str, Any]:
    """The document of this moment. `before` is the last one, for the times since when alerts are on. Never raises
    for what is away: its fields are null then."""
    seen = redis_state.read(settings)
    try:
        active = training.active_jobs(ledger)
        oldest, ledger_error = _oldest(ledger), None
    except MiloError as error:
        active, oldest, ledger_error = [], {}, error.detail
    current = training.subject(settings, active)
    evaluation = _evaluation(settings)
    orchestrator, why = _orchestrator(seen)
    document: dict[str, Any] = {
        "phase": training.phase_of(settings, active, current, evaluation.pop("_at")),
        "training": training.section(current, _watched(seen, current), seen.at)
        | {"loss_ratio": alerts.loss_ratio(current.run)},
        "gpu": gpu_section(seen.cards),
        "orchestrator": orchestrator,
        "orchestrator_reason": why,
        "auto_fixes": training.fixes_of(current.run),
        "run_alerts": store.tail(current.run.path / "alerts.jsonl")[-FIXES:] if current.run else [],
        "fixes": store.tail(settings.home / "status" / "fixes.jsonl")[-FIXES:],
        "checkpoints": [path.name for path in current.run.checkpoints().values()] if current.run else [],
        "eval": evaluation,
        "paused": [{"rule": one.rule, "seen": one.seen, "since": iso(one.since)} for one in seen.pauses],
        "queues": _queues(seen, oldest),
        "jobs": [_job(job) for job in active[:FIXES]],
        "workers": [{"node": one["node"], "queues": one["queues"]} for one in seen.workers],
        "disk": _disk(settings, current.run),
        "redis": {"ok": seen.redis_error is None, "detail": seen.redis_error or "answers"},
        "ledger": {"ok": ledger_error is None, "detail": ledger_error or "answers"},
        "beat_age_s": _rounded(seen.beat_age_s()),
        "version": __version__,
        "updated_at": iso(seen.at),
    }
    document["alerts"] = alerts.judge(document, before)
    return document


def _watched(seen: RedisState, current: ShownTraining) -> dict[str, Any] | None:
    return seen.steps.get(current.job.id) if current.job else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _orchestrator(seen: RedisState) -> tuple[bool, str]:
    """Whether a training or a pipeline would go on by itself: somebody serves its queues, and beat looks after it."""
    if seen.redis_error:
        return False, seen.redis_error
    gpu, cpu, age_s = seen.serving("gpu.background"), seen.serving("cpu"), seen.beat_age_s()
    missing = [name for name, nodes in (("gpu.background", gpu), ("cpu", cpu)) if not nodes]
    if missing:
        return False, f"no worker serves {' and '.join(missing)}"
    if age_s is None or age_s > BEAT_LATE_S:
        return False, "beat has not ticked" + ("" if age_s is None else f" for {age_s:.0f} s")
    return True, f"{gpu[0]} serves gpu.background, {cpu[0]} serves cpu, beat ticked {age_s:.0f} s ago"


def gpu_section(cards: GpuReading) -> dict[str, Any]:
    """`gpu`: the first card under the monitor's names (MB are MiB, as nvidia-smi's), and all of them."""
    rows = [
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
    names = ("name", "gpu_util_pct", "vram_used_mb", "vram_total_mb", "temp_c", "power_w")
    first = rows[0] if rows else dict.fromkeys(names)
    return first | {"reason": cards.reason, "cards": rows}


def _oldest(ledger: Ledger) -> dict[str, float]:
    """Queue -> when its first waiting job was accepted, in unix seconds."""
    found = {}
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
                found[queue] = float(created_at)
    return found


def _queues(seen: RedisState, oldest: dict[str, float]) -> dict[str, dict[str, Any]]:
    return {
        queue: {
            "depth": seen.depths.get(queue),
            "oldest_s": round(seen.at - oldest[queue], 1) if queue in oldest else None,
            "workers": seen.serving(queue),
        }
        for queue in QUEUES
    }


def _job(job: Any) -> dict[str, Any]:
    progress = {"done": job.progress.done, "total": job.progress.total, "unit": job.progress.unit}
    return {"id": job.id, "kind": job.kind, "state": job.state, "stage": job.stage, "progress": progress} | {
        "due_at": iso(job.due_at),
        "worker": job.worker,
    }


def checkpoint_bytes(run: Run | None) -> int:
    """Size of a run's newest checkpoint; 0 when it has none."""
    newest = list(run.checkpoints().values())[-1:] if run else []
    return sum(_size(path) for folder in newest for path in folder.rglob("*"))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0


def needed_bytes(run: Run | None) -> int:
    """Room that must be free: two checkpoints of the run, and never less than a floor."""
    return max(2 * checkpoint_bytes(run), alerts.LOW_DISK_BYTES)


def free_bytes(settings: Settings) -> int:
    """Free room where `MILO_HOME` is. The seam for tests of a full disk."""
    return shutil.disk_usage(settings.home).free


def _disk(settings: Settings, run: Run | None) -> dict[str, Any]:
    try:
        free: int | None = free_bytes(settings)
        total: int | None = shutil.disk_usage(settings.home).total
    except OSError:
        free = total = None
    return {"free_bytes": free, "total_bytes": total, "needed_bytes": needed_bytes(run)}


def _evaluation(settings: Settings) -> dict[str, Any]:
    """`eval`: the result of the last evaluation that ended. WER and CER are fractions; `_pct` are percent."""
    folder = settings.home / "evaluations"
    reports = [(_mtime(path), path) for path in folder.glob("*/report.json")] if folder.is_dir() else []
    for at, path in sorted(reports, reverse=True):
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        wer, cer = _rate(report, "wer"), _rate(report, "cer")
        results = {"wer": wer, "cer": cer, "wer_pct": _percent(wer), "cer_pct": _percent(cer)}
        about = {name: report.get(name) for name in ("model", "status", "items", "interval")}
        return {"state": "done", "results": results, **about, "key": path.parent.name, "at": iso(at), "_at": at}
    return {"state": "none", "results": None, "_at": None}


def _mtime(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _rate(report: Any, name: str) -> float | None:
    value = report.get(name) if isinstance(report, dict) else None
    value = value.get("value") if isinstance(value, dict) else value
    return round(float(value), 6) if isinstance(value, (int, float)) else None


def _percent(value: float | None) -> float | None:
    return None if value is None else round(100 * value, 2)
