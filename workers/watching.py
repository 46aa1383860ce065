"""What beat asks for to keep an eye on things: the watchdog and the status file, health, evaluations of checkpoints."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from sqlalchemy import select

from milo import recipes
from milo.errors import MiloError
from milo.jobs import OPERATOR, NewJob
from milo.kinds.training import EvaluationPayload
from milo.ledger import Ledger
from milo.ledger.database import reading
from milo.ledger.schema import jobs
from milo.monitoring import alerts, health, store, watchdog
from milo.monitoring import document as status
from milo.monitoring.model_health import verify_one
from milo.monitoring.schema import Status
from milo.queue import wakeups
from milo.recipes import TASKS, Recipe
from milo.settings import Settings
from milo.storage import json_lines
from milo.storage.files import Files
from milo.training import runs
from milo.training.runs import Run
from trainer.autonomy.watched import PREFIX

log = logging.getLogger(__name__)

ABANDONED_AFTER_S = 86_400
"""A run that nobody wrote to for this long gets no more evaluations."""
_KEY_PREFIX = "evaluate:"
"""How the idempotency keys of these evaluations begin."""


def watch(settings: Settings, ledger: Ledger) -> int:
    """Let the watchdog check, then write the status document and a row of its history. Returns the number of fixes."""
    end_runs(settings, ledger)
    fixes = watchdog.check(settings, ledger)
    for fix in fixes:
        log.warning("watchdog: %s, %s: %s; %s", fix.rule, fix.about, fix.seen, fix.done)
    document = status.build(settings, ledger, store.read_status(settings))
    store.write(settings, "status", document)
    store.append(settings, "history", _history_row(document))
    return len(fixes)


def end_runs(settings: Settings, ledger: Ledger) -> None:
    """Write into runs that seem to go on how their job has ended: cancelled while it was queued, or lost with its
    worker, a training can't say so itself."""
    for run in runs.all_runs(settings):
        if run.job_id is None or run.summary().get("state") not in runs.UNFINISHED:
            continue
        try:
            job = ledger.get(run.job_id)
            if job.final:
                run.end_with(job.state, (job.error or {}).get("detail"))
        except (MiloError, OSError) as error:
            log.debug("run %s: %s", run.id, error)


def _history_row(document: Status) -> dict[str, Any]:
    training, gpu = document["training"], document["gpu"]
    return {
        "phase": document["phase"],
        **{name: training[name] for name in ("run", "step", "last_loss", "speed")},
        **{name: gpu[name] for name in ("gpu_util_pct", "vram_used_mb", "temp_c")},
        "depths": {name: queue["depth"] for name, queue in document["queues"].items() if queue["depth"]},
        "orchestrator": document["orchestrator"],
        "auto_fixes": document["auto_fixes"],
        "alerts": alerts.active(document),
    }


def check_health(settings: Settings, ledger: Ledger, files: Files) -> int:
    """Check every part and keep the findings. Returns how many are not well."""
    verify_one(settings)
    document = health.check(settings, ledger, files)
    store.write(settings, "health", {"at": time.time(), **document})
    unwell = {name: one["detail"] for name, one in document["checks"].items() if not one["ok"]}
    store.append(settings, "health", {"status": document["status"], "unwell": unwell})
    return len(unwell)


# --- checkpoints ------------------------------------------------------------------------------------------------------


def evaluate_checkpoints(settings: Settings, ledger: Ledger) -> int:
    """Queue an evaluation of each new checkpoint that its recipe's own evaluations leave out. Returns how many.

    One that its training has removed meanwhile, before its turn came, is not evaluated any more.
    """
    if not settings.evaluate_checkpoints:
        return 0
    _cancel_for_removed(ledger)
    queued = 0
    for run in runs.all_runs(settings):
        recipe = _recipe_of(run)
        if recipe is None or TASKS[recipe.task].no_error_rate or not _is_recent(run):
            continue
        for step, path in run.checkpoints().items():
            if not _has_own_evaluation(recipe, run, step):
                queued += _queue(settings, ledger, recipe, run, path)
    return queued


def _cancel_for_removed(ledger: Ledger) -> None:
    for job in ledger.jobs(owner=OPERATOR, kind="evaluation", state="queued", limit=500):
        model = Path(job.payload["model"])
        ours = (job.idempotency_key or "").startswith((_KEY_PREFIX, PREFIX))
        if ours and model.is_absolute() and not model.exists():
            ledger.cancel(job.id)


def _recipe_of(run: Run) -> Recipe | None:
    try:
        return recipes.read(run.path / "config.yaml")
    except MiloError:
        return None  # not written yet, or by an older version


def _is_recent(run: Run) -> bool:
    try:
        return time.time() - (run.path / "summary.json").stat().st_mtime < ABANDONED_AFTER_S
    except OSError:
        return False


def _has_own_evaluation(recipe: Recipe, run: Run, step: int) -> bool:
    if step % recipe.training.eval_steps == 0:
        return True
    return any(row.get("step") == step and "eval/wer" in row for row in json_lines.tail(run.path / "metrics.jsonl"))


def _queue(settings: Settings, ledger: Ledger, recipe: Recipe, run: Run, checkpoint: Path) -> int:
    key = f"{_KEY_PREFIX}{run.id}:{checkpoint.name}"
    with reading(ledger.engine) as connection:  # for longer than the ledger remembers idempotency keys
        earlier = connection.execute(select(jobs.c.id).where(jobs.c.owner == OPERATOR, jobs.c.idempotency_key == key))
        if earlier.first() is not None:
            return 0
    payload = EvaluationPayload(
        model=str(checkpoint),
        data=recipe.data,
        task=recipe.task,
        evaluation=recipe.evaluation,
        name=f"{recipe.name} {checkpoint.name}",
    )
    new = NewJob(
        kind="evaluation",
        payload=payload.model_dump(mode="json"),
        owner=OPERATOR,
        priority="background",
        idempotency_key=key,
        fingerprint=key,
    )
    wakeups.submit(ledger.create(new))
    return 1
