"""Does a training's step move? What was measured is kept in Redis, so that any process may measure next."""

from __future__ import annotations

import json
from dataclasses import dataclass
from statistics import median

from milo.jobs import Job
from milo.monitoring.redis_state import STEPS_KEY, StepRecord
from milo.monitoring.rules import FACTOR, FLOOR_S
from milo.queue.connection import redis_client
from milo.settings import Settings
from milo.storage.json_lines import tail
from milo.training import runs
from milo.training.runs import Run

RECENT = 50
"""Logged rows of which the median is taken."""


@dataclass(frozen=True)
class JobProgress:
    """A running training, as it was seen."""

    job: Job
    step: int | None
    since: float
    """Since when the step is the same, in unix seconds."""
    limit_s: float

    def still_s(self, now: float) -> float:
        return now - self.since


def measure(settings: Settings, running: list[Job], previous: dict[str, StepRecord], now: float) -> list[JobProgress]:
    """Compare the step of every running training with that of the last look (`previous`), and keep the present one."""
    client = redis_client(settings.redis_url)
    measured = []
    for job in running:
        run = runs.find(settings, job.id)
        step, mark = _step(job, run)
        before = previous.get(job.id)
        same_claim = before is not None and before["fence"] == job.fence
        moved = before is None or not same_claim or before["mark"] != mark
        first_of_claim = not same_claim or (bool(before and before["first"]) and not moved)
        since = now if before is None or moved else float(before["since"])
        limit_s = _limit_s(settings, job, run, step, first_of_claim)
        row: StepRecord = {
            "fence": job.fence,
            "mark": mark,
            "step": step,
            "since": since,
            "limit_s": limit_s,
            "first": first_of_claim,
        }
        client.hset(STEPS_KEY, job.id, json.dumps(row))
        measured.append(JobProgress(job, step, since, limit_s))
    gone = set(previous) - {job.id for job in running}
    if gone:
        client.hdel(STEPS_KEY, *gone)
    return measured


def _step(job: Job, run: Run | None) -> tuple[int | None, list[float | None]]:
    """The step, and a mark that changes when it moves: the job's row is written every second, the run when it logs."""
    logged = run.summary().get("step") if run else None
    steps = [int(number) for number in (logged, job.progress.done) if number]
    return max(steps, default=None), [job.progress.done, logged]


def _limit_s(settings: Settings, job: Job, run: Run | None, step: int | None, first: bool) -> float:
    """How long this step may take. Loading a model, saving and evaluating have the ceiling of a whole slice."""
    schedule = (job.payload.get("recipe") or {}).get("training") or {}
    rare = [int(schedule.get(name) or 0) for name in ("save_steps", "eval_steps")]
    if first or step is None or any(every and step % every == 0 for every in rare):
        return float(settings.hard_limit_s)
    return max(FACTOR * median_step_s(run), FLOOR_S)


def median_step_s(run: Run | None) -> float:
    """Seconds a step, as logged lately; 0 when nothing was logged."""
    if run is None:
        return 0.0
    rows = [row for row in tail(run.path / "metrics.jsonl") if "train/loss" in row and "time" in row][-RECENT:]
    pairs = zip(rows, rows[1:], strict=False)
    each = [(b["time"] - a["time"]) / (b["step"] - a["step"]) for a, b in pairs if b["step"] > a["step"]]
    return median(each) if each else float(run.summary().get("speed_s_per_step") or 0)
