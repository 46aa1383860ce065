"""Training jobs: a trainer's generator, driven as a job's. One training at a time in a worker child.

The generator stays warm while the job gives way; started anew, it goes on from the run's last good checkpoint.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Generator
from contextlib import suppress
from typing import Any

from milo.errors import MiloError, Unavailable
from milo.jobs import Progress
from milo.ledger import owners
from milo.models.contained import check_recipe
from milo.recipes import Recipe
from milo.training import runs
from milo.training.runs import Run
from trainer.loop.step import Step
from trainer.tasks import trainer_of
from workers import engines
from workers.faults import is_disk_full
from workers.work import Finished, RetryLater, RunningJob

log = logging.getLogger(__name__)

LATER_S = 5.0
NO_ROOM_S = 10.0
"""How often a training whose disk was full looks for room."""
MORE_ROOM = 1 << 20
"""So many bytes more than there were must be free before it tries again."""
_had: dict[str, int] = {}
"""Job whose disk was full -> bytes that were free, and were too few."""
_training: set[str] = set()
"""The job whose training this process holds in memory; no other is begun until it has ended."""


def train(job: RunningJob) -> Generator[Progress, None, Finished | RetryLater]:
    """Train by the job's recipe. The result is the run's summary."""
    recipe: Recipe = job.payload.recipe
    summary = yield from train_by(job, recipe)
    if isinstance(summary, RetryLater):
        return summary
    return Finished({"run": runs.folder_for(job.settings, recipe.name, job.id, job.job.created_at).id, **summary})


def train_by(job: RunningJob, recipe: Recipe) -> Generator[Progress, None, dict[str, Any] | RetryLater]:
    """The training of a job (a pipeline's, too), in the run folder that is the job's. Returns the run's summary, or
    `RetryLater` while this process holds another training in memory, or the disk is full."""
    if _training - {job.id}:
        return RetryLater(LATER_S)
    folder = runs.folder_for(job.settings, recipe.name, job.id, job.job.created_at)
    if job.id in _had and _free(folder) < _had[job.id] + MORE_ROOM:
        return RetryLater(NO_ROOM_S, _no_room(folder))
    try:
        return (yield from _train(job, recipe, folder))
    except Exception as error:
        if not is_disk_full(error):
            raise
        return _wait_for_room(job, folder, error)


def _free(folder: Run) -> int:
    return shutil.disk_usage(folder.path).free


def _wait_for_room(job: RunningJob, folder: Run, error: Exception) -> RetryLater:
    """Give back what a half checkpoint takes, say why it stands still as far as there is room for that, and wait."""
    from trainer.loop import checkpoints

    checkpoints.clear_leftovers(folder)
    why = _no_room(folder)
    seen = why.detail
    log.warning("job %s: %s: %s", job.id, seen, error)
    if job.id not in _had:
        with suppress(OSError):
            last = max(folder.checkpoints(), default=0)
            folder.alert("no_room", seen, f"goes on from step {last} when more is free", step=last)
    with suppress(OSError):
        folder.summarise(state=runs.WAITS_FOR_ROOM, error=seen, eta_s=None)
    _had[job.id] = _free(folder)
    return RetryLater(NO_ROOM_S, why)


def _no_room(folder: Run) -> MiloError:
    seen = f"there is no room left on the disk of {folder.path} ({_free(folder) >> 20} MiB are free)"
    return Unavailable(seen, code="no_room")


def _train(job: RunningJob, recipe: Recipe, folder: Run) -> Generator[Progress, None, dict[str, Any]]:
    saved = max(folder.checkpoints(), default=0)
    owners.note(job.ledger.engine, "run", job.id, job.job.owner)
    check_recipe(job.settings, recipe)
    _training.add(job.id)
    steps = trainer_of(recipe.task)(job.settings, recipe, folder)
    engines.residency().relief = _leave_the_card
    try:
        while True:
            try:
                step = _next(steps)
            except StopIteration as end:
                summary: dict[str, Any] = end.value
                _had.pop(job.id, None)
                return summary
            if job.job.attempt > 1 and max(folder.checkpoints(), default=0) > saved:
                job.saved()
            yield Progress(done=step.step, total=step.total or None, unit="steps")
    except GeneratorExit:
        steps.close()
        folder.end_with(job.ledger.get(job.id).state)
        raise
    finally:
        _training.discard(job.id)


def _next(steps: Generator[Step, None, dict[str, Any]]) -> Step:
    """One step, for which idle engines leave the card if there is no room beside them."""
    from trainer.loop import parking

    if parking.away():
        _unload_engines()
    with parking.beside(_unload_engines):
        return next(steps)


def _unload_engines() -> bool:
    there = len(engines.residency().loaded())
    engines.residency().close()
    return len(engines.residency().loaded()) < there


def _leave_the_card() -> bool:
    """The training that stands still makes room for an engine that finds no memory."""
    from trainer.loop import parking

    return parking.offload()
