"""An evaluation as a job: `trainer.evaluation.evaluate` with this worker's engines."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import TypeVar

from milo import recipes
from milo.errors import MiloError
from milo.jobs import Progress
from milo.kinds.training import EvaluationPayload
from milo.ledger import owners
from milo.models.contained import check_folders
from milo.recipes import TASKS
from milo.settings import Settings
from milo.training import runs
from milo.training.runs import Run
from trainer.deploy.candidate import make_candidate
from trainer.evaluation import evaluate as evaluations
from trainer.evaluation.engines import Engines
from trainer.loop.background import in_background
from workers import engines
from workers.work import Finished, RunningJob

T = TypeVar("T")


def evaluate(running: RunningJob) -> Generator[Progress, None, Finished]:
    """Judge the model of the payload. The result is the report; its rows are in `evaluations/<key>/rows.jsonl`."""
    payload: EvaluationPayload = running.payload
    if payload.data.confined:
        check_folders(running.settings, payload.model)
    place = running.settings.home / "candidates" / running.id
    try:
        model = yield from _whole(running.settings, payload, place)
        steps = evaluations.evaluate(
            running.settings,
            model,
            payload.data,
            payload.evaluation,
            task=payload.task,
            engines=worker_engines(running.settings),
            of=payload.model if model != payload.model else None,
        )
        report = yield from keeping(running, steps)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    owners.note(running.ledger.engine, "evaluation", str(report["key"]), running.job.owner)
    return Finished(report, audio_s=report.get("audio_s"), models={"evaluated": report["model"]["label"]})


def _whole(settings: Settings, payload: EvaluationPayload, place: Path) -> Generator[Progress, None, str]:
    """The model of the payload. A run's checkpoint is made whole first, as its deploy would make it: what is evaluated
    is what can be deployed, under one label, so a pipeline finds this evaluation, and this one that of a pipeline."""
    checkpoint = Path(payload.model)
    recipe = recipe_of(settings, checkpoint)
    if recipe is None or TASKS[payload.task].no_error_rate:
        return payload.model
    half, target = bool(recipe.deploy and recipe.deploy.half), place / checkpoint.name
    folder = yield from in_background(
        lambda _: make_candidate(settings, checkpoint, recipe.model, target, half), "bytes copied"
    )
    return str(folder)


def recipe_of(settings: Settings, checkpoint: Path) -> recipes.Recipe | None:
    """The recipe by which a checkpoint below runs/ was trained; None for any other folder."""
    run = Run(checkpoint.parent)
    if not checkpoint.is_dir() or run.path.resolve().parent != runs.root(settings).resolve():
        return None
    try:
        return recipes.read(run.path / "config.yaml")
    except MiloError:
        return None  # of an older version


def keeping(running: RunningJob, steps: Generator[Progress, None, T]) -> Generator[Progress, None, T]:
    """The steps of an evaluation. Those that are counted have left rows: after each, lost workers are counted anew."""
    try:
        while True:
            try:
                progress = next(steps)
            except StopIteration as end:
                report: T = end.value
                return report
            if running.job.attempt > 1 and progress.done:
                running.saved()
            yield progress
    finally:
        steps.close()


def worker_engines(settings: Settings) -> Engines:
    """This worker child's engines, shared with the jobs that serve."""
    return Engines(
        transcriber=partial(engines.transcriber, settings),
        reference=partial(engines.reference, settings),
        translator=partial(engines.translator, settings),
    )
