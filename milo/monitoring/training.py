"""Which training is the one to show, how far it is, and the phase of the whole: from the ledger and the run folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from sqlalchemy import and_, select

from milo.errors import MiloError
from milo.jobs import Job, iso
from milo.ledger import Ledger
from milo.ledger.database import reading
from milo.ledger.schema import jobs
from milo.ledger.store import job_from
from milo.monitoring.liveness import Liveness, liveness
from milo.monitoring.redis_state import StepRecord
from milo.monitoring.rules import BY_NAME
from milo.monitoring.schema import Phase, TrainingStatus
from milo.queue.pause import Pause
from milo.settings import Settings
from milo.storage.json_lines import Row, tail
from milo.training import runs
from milo.training.runs import Run

KINDS = ("training", "evaluation", "pipeline")
EVALUATES = ("evaluate", "baseline", "judge")
"""Stages of those kinds in which a model is evaluated."""
RECENT, WINDOW = 5, 200
"""Logged losses that are "the last ones", and how many of them are looked at."""


@dataclass(frozen=True)
class ShownTraining:
    """What `/training` tells of. Nothing was ever trained here: both are None."""

    run: Run | None = None
    job: Job | None = None
    """The job of the run, while it is queued or running."""
    ended: Job | None = None
    """The job of the run, when it has ended."""
    life: Liveness | None = None
    """Of `job`."""

    def summary(self) -> Row:
        """Of the run, as the state of its job has it read; empty for none."""
        found = self.run.summary() if self.run else {}
        return runs.as_job_ended(found, self.ended.state) if self.ended else found


def active_jobs(ledger: Ledger) -> list[Job]:
    """Trainings, evaluations and pipelines that have not ended; running ones first, then as they were queued."""
    # by queue and by state, which have indexes: a long archive in the other queues costs nothing
    running = jobs.c.state == "running"
    queued = and_(jobs.c.queue == "gpu.background", jobs.c.state == "queued")
    active = []
    with reading(ledger.engine) as connection:
        for which in (running, queued):
            wanted = select(jobs).where(which, jobs.c.kind.in_(KINDS)).order_by(jobs.c.created_at).limit(100)
            active += [job_from(row) for row in connection.execute(wanted)]
    return active


def shown(
    settings: Settings,
    active: Sequence[Job],
    ledger: Ledger | None = None,
    pauses: Sequence[Pause] = (),
    now: float = 0,
) -> ShownTraining:
    """The training that runs or has begun; else the run that was written to last, and how its job ended (if there is a
    `ledger` to ask)."""
    begun = [job for job in active if job.kind != "evaluation" and job.started_at is not None]
    every = runs.all_runs(settings)
    if begun:
        run = next((run for run in every if run.id.endswith(f"_{begun[0].id}")), None)
        life = liveness(settings, begun[0], run.summary() if run else {}, pauses, now)
        return ShownTraining(run, begun[0], life=life)
    last = max(every, key=_written_at, default=None)
    return ShownTraining(last, ended=_ended_job(ledger, last))


def _ended_job(ledger: Ledger | None, run: Run | None) -> Job | None:
    """The job of a run, if it is still remembered and has ended."""
    if ledger is None or run is None or run.job_id is None:
        return None
    try:
        job = ledger.get(run.job_id)
    except MiloError:
        return None
    return job if job.final else None


def _written_at(run: Run) -> float:
    for name in ("summary.json", "."):
        try:
            return (run.path / name).stat().st_mtime
        except OSError:
            continue
    return 0


def phase_of(active: list[Job], current: ShownTraining, evaluated_at: float | None) -> Phase:
    """One word for all. `evaluated_at`: when the last evaluation ended, in unix seconds."""
    if current.job is not None:
        return _phase_of_job(current, current.job)
    if any(job.kind == "evaluation" and job.started_at is not None for job in active):
        return "evaluating"
    state = current.summary().get("state")
    trained_at = _written_at(current.run) if current.run else 0.0
    if evaluated_at is not None and evaluated_at >= trained_at:
        return "evaluation_done"
    return "training_done" if state == "done" else "cancelled" if state == "cancelled" else "idle"


def _phase_of_job(current: ShownTraining, job: Job) -> Phase:
    life, summary = current.life, current.summary()
    if life and life.for_room:
        return "waiting_for_room"
    if life and job.state == "queued" and life.waits_for:
        return "waiting"
    if life and life.silent:
        return "stalled"
    if job.stage in EVALUATES:
        return "evaluating"
    trained = summary.get("step") or summary.get("state") not in (None, "preprocessing")
    return "training" if trained else "preprocessing"


def section(current: ShownTraining, watched: StepRecord | None, now: float) -> TrainingStatus:
    """`training` of the status document. Every field is there, null where nothing is known."""
    summary, life = current.summary(), current.life
    step, total = summary.get("step"), summary.get("total_steps")
    running = current.job is not None and current.job.state == "running"
    goes_on = current.job is not None and life is not None and not life.silent and not life.waits_for
    eta_s = summary.get("eta_s") if goes_on else None
    return {
        "step": step,
        "total_steps": total,
        "pct": round(100 * step / total, 2) if step is not None and total else None,
        "eta": _clock(eta_s),
        "eta_s": eta_s,
        "speed": summary.get("speed_s_per_step"),
        "last_loss": summary.get("last_loss"),
        "epoch": summary.get("epoch"),
        "state": summary.get("state"),
        "task": summary.get("task"),
        "model": summary.get("model"),
        "best": summary.get("best"),
        "run": current.run.id if current.run else None,
        "job": current.job.id if current.job else None,
        "job_state": current.job.state if current.job else None,
        "still_s": round(now - watched["since"], 1) if running and watched else None,
        "stuck_after_s": watched["limit_s"] if running and watched else None,
        "started_at": summary.get("started_at"),
        "updated_at": summary.get("updated_at"),
        "loss_ratio": loss_ratio(current.run),
        "last_sign_at": iso(life.last_sign_at) if life else None,
        "waits_for": life.waits_for if life else None,
    }


def _clock(seconds: float | None) -> str | None:
    """`3:25:10`, as progress bars write it."""
    if seconds is None:
        return None
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def fixes_of(run: Run | None) -> int:
    """Corrections that were made in a run by themselves: its alerts by one of the watchdog's rules that did not only
    tell."""
    alerts = run.alerts() if run else []
    return sum(1 for alert in alerts if alert.get("kind") in BY_NAME and alert.get("action") != "alert")


def loss_ratio(run: Run | None) -> float | None:
    """The last losses against the lowest that the run had lately: medians of `RECENT`. None: too few were logged."""
    if run is None:
        return None
    losses = [float(row["train/loss"]) for row in tail(run.path / "metrics.jsonl") if _is_number(row.get("train/loss"))]
    losses = losses[-WINDOW:]
    if len(losses) < 2 * RECENT:
        return None
    medians = [median(losses[start : start + RECENT]) for start in range(len(losses) - RECENT + 1)]
    lowest = min(medians)
    return round(medians[-1] / lowest, 3) if lowest > 0 else None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and value == value and abs(value) != float("inf")
