"""A pipeline as a job: baseline, train, judge, deploy, summary, each a stage of one job with a durable end.

What a stage has found stands in `<run>/pipeline/state.json`, written when the stage is over; inside a stage, rows of
an evaluation and checkpoints of a training are what a new start goes on from. So a pipeline may be stopped, killed or
given to another worker at any point, and does nothing twice but the batch or step in hand.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milo.errors import Conflict, EngineError, Invalid, MiloError, ModelUnavailable
from milo.jobs import Progress
from milo.kinds.training import PipelinePayload
from milo.ledger import owners
from milo.models import registry
from milo.models.contained import check_recipe
from milo.models.files import write_durably
from milo.recipes import TASKS, Recipe
from milo.settings import Settings
from milo.training import evaluations, guard
from milo.training.compare import compare
from milo.training.runs import Run, folder_for
from trainer.deploy.candidate import make_candidate
from trainer.deploy.comparison import check_verdict, margin_of
from trainer.deploy.gated import Candidate, gated_deploy
from trainer.deploy.smoke import Refused
from trainer.evaluation.evaluate import evaluate
from trainer.loop.background import in_background
from workers.kinds.evaluation import keeping, worker_engines
from workers.work import Finished, NextStage, RetryLater, RunningJob

Document = dict[str, Any]
Stage = Generator[Progress, None, "Finished | NextStage | RetryLater"]
Found = Generator[Progress, None, Document]
RACES = 3
"""Times that somebody else may deploy under the same name between our comparison and our pointer."""


@dataclass(frozen=True)
class Pipe:
    """One pipeline: its recipe, its run, and what its stages have found."""

    running: RunningJob
    recipe: Recipe
    run: Run

    @property
    def settings(self) -> Settings:
        return self.running.settings

    @property
    def folder(self) -> Path:
        return self.run.path / "pipeline"

    def state(self) -> Document:
        try:
            found = json.loads((self.folder / "state.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return dict(found)

    def put(self, stage: str, found: Any) -> None:
        """Keep what a stage has found: it is over."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_durably(self.folder / "state.json", json.dumps({**self.state(), stage: found}, indent=1))


def pipe_of(running: RunningJob) -> Pipe:
    payload: PipelinePayload = running.payload
    recipe = payload.recipe
    return Pipe(running, recipe, folder_for(running.settings, recipe.name, running.job.id, running.job.created_at))


# --- baseline ---------------------------------------------------------------------------------------------------------


def baseline(running: RunningJob) -> Stage:
    """Judge the model that training begins with, and the one that serves, if that is another."""
    pipe = pipe_of(running)
    if "baseline" not in pipe.state():
        pipe.put("started_at", pipe.state().get("started_at", time.time()))
        found = yield from _baseline(pipe)
        pipe.put("baseline", found)
    return NextStage("train")


def _baseline(pipe: Pipe) -> Found:
    recipe = pipe.recipe
    if why := TASKS[recipe.task].no_error_rate:
        return {"skipped": f"{why}; listen to the samples of its run"}
    base = yield from _evaluate(pipe, recipe.model)
    if base["status"] != "ok":
        raise Invalid(
            f"there is nothing to judge a model by: {base['reason']}. Check data.splits and data.columns of the recipe",
            code="insufficient_data",
        )
    found = {"base": _short(base)}
    if recipe.deploy:
        guard.read(pipe.settings, recipe.deploy.name)  # one that is broken is told before the training, not after it
    if recipe.deploy and registry.serving(pipe.settings, recipe.deploy.name):
        serving = yield from _evaluate(pipe, recipe.deploy.name)
        found["serving"] = _short(serving)
    return found


def _evaluate(pipe: Pipe, model: str, of: str | None = None) -> Found:
    check_recipe(pipe.settings, pipe.recipe)
    recipe, engines = pipe.recipe, worker_engines(pipe.settings)
    steps = evaluate(pipe.settings, model, recipe.data, recipe.evaluation, task=recipe.task, engines=engines, of=of)
    report = yield from keeping(pipe.running, steps)
    owners.note(pipe.running.ledger.engine, "evaluation", str(report["key"]), pipe.running.job.owner)
    return report


def _short(report: Document) -> Document:
    """What a summary says of an evaluation; the rest is in its report."""
    names = (
        "key",
        "status",
        "metric",
        "wer",
        "raw_wer",
        "cer",
        "chrf",
        "bleu",
        "exact",
        "interval",
        "scored",
        "loss",
        "reason",
    )
    return {"model": report["model"]["label"]} | {name: report[name] for name in names if name in report}


# --- train ------------------------------------------------------------------------------------------------------------


def train(running: RunningJob) -> Stage:
    """The training of the recipe, in the run's folder; a new start goes on from its last good checkpoint."""
    from workers.kinds.training import train_by

    pipe = pipe_of(running)
    if "train" not in pipe.state():
        found = yield from train_by(running, pipe.recipe)
        if isinstance(found, RetryLater):
            return found
        pipe.put("train", found)
    return NextStage("judge")


# --- judge ------------------------------------------------------------------------------------------------------------


def judge(running: RunningJob) -> Stage:
    """Evaluate the best checkpoint and the last one, and compare them with the base and with what serves."""
    pipe = pipe_of(running)
    if "judge" not in pipe.state():
        found = yield from _judge(pipe)
        pipe.put("judge", found)
    return NextStage("deploy")


def _judge(pipe: Pipe) -> Found:
    judged: list[Document] = []
    for name, checkpoint in checkpoints_of(pipe.run).items():
        judged.append({"name": name, "checkpoint": checkpoint.name} | (yield from _judge_one(pipe, checkpoint)))
    fit = next((one for one in judged if "broken" not in one), None)
    return {"checkpoints": judged, "chosen": fit and fit["checkpoint"]}


def checkpoints_of(run: Run) -> dict[str, Path]:
    """`best` (of the validation split, by the trainer) and `last`, each checkpoint once; the best first."""
    summary, there = run.summary(), run.checkpoints()
    found: dict[str, Path] = {}
    for name in ("best", "last"):
        step = (summary.get(name) or {}).get("step")
        if step in there and there[step] not in found.values():
            found[name] = there[step]
    if not found and there:
        found["last"] = there[max(there)]
    if not found:
        raise Conflict(f"the training left no checkpoint in {run.path}", code="no_checkpoint")
    return found


def _judge_one(pipe: Pipe, checkpoint: Path) -> Found:
    try:
        folder = yield from _candidate(pipe, checkpoint)
        if TASKS[pipe.recipe.task].no_error_rate:
            return {}
        report = yield from _evaluate(pipe, str(folder), str(checkpoint))
    except (EngineError, ModelUnavailable) as error:
        if isinstance(error, EngineError) and error.retryable:
            raise
        return {"broken": error.detail}
    before = pipe.state()["baseline"]
    return {
        "report": _short(report),
        "against": {name: _compared(pipe.settings, before[name]["key"], report["key"]) for name in before},
    }


def _candidate(pipe: Pipe, checkpoint: Path) -> Generator[Progress, None, Path]:
    half = bool(pipe.recipe.deploy and pipe.recipe.deploy.half)
    target = pipe.folder / "candidates" / checkpoint.name
    return (
        yield from in_background(
            lambda _: make_candidate(pipe.settings, checkpoint, pipe.recipe.model, target, half), "bytes copied"
        )
    )


def _compared(settings: Settings, before: str, after: str) -> Document:
    one, two = (evaluations.find(settings, key) for key in (before, after))
    return compare(one.report() or {}, one.rows(), two.report() or {}, two.rows())


# --- deploy -----------------------------------------------------------------------------------------------------------


def deploy(running: RunningJob) -> Stage:
    """Through the gates, if the recipe says where to. A gate that is closed is a finding, not a failure."""
    pipe = pipe_of(running)
    if "deploy" not in pipe.state():
        found = yield from _deploy(pipe)
        pipe.put("deploy", found)
    return NextStage("summary")


def _deploy(pipe: Pipe) -> Found:
    recipe, state = pipe.recipe, pipe.state()
    chosen = state["judge"]["chosen"]
    if recipe.deploy is None:
        return {"deployed": False, "reason": "the recipe names no place to deploy to"}
    if chosen is None:
        broken = "; ".join(one["broken"] for one in state["judge"]["checkpoints"])
        return {"deployed": False, "reason": f"no checkpoint can be used: {broken}", "code": "broken_weights"}
    name = recipe.deploy.name
    if "before" not in state:
        pipe.put("before", registry.serving(pipe.settings, name))
    folder = yield from _candidate(pipe, pipe.run.path / chosen)
    candidate = Candidate(
        folder,
        name,
        recipe.task,
        recipe.data.language,
        recipe.data,
        recipe.evaluation,
        recipe.deploy.margin,
        recipe.name,
    )
    for race in range(RACES):
        try:
            _not_worse_than_base(pipe, chosen, margin_of(pipe.settings, candidate))
            found = yield from gated_deploy(pipe.settings, candidate, worker_engines(pipe.settings))
        except Refused as error:
            return {"deployed": False, "name": name, "reason": error.detail, "code": error.code, **error.found}
        except MiloError as error:
            if error.code != "serving_changed" or race == RACES - 1:
                raise
        else:
            break
    return {**found, "before": pipe.state()["before"] or None, "checkpoint": chosen}


def _not_worse_than_base(pipe: Pipe, chosen: str, margin: float) -> None:
    """Where nothing serves yet, the model that training began with is the one not to be worse than."""
    judged = next(one for one in pipe.state()["judge"]["checkpoints"] if one["checkpoint"] == chosen)
    against = judged.get("against", {})
    if "base" in against and "serving" not in against:
        check_verdict(against["base"], pipe.recipe.model, margin)


# --- summary ----------------------------------------------------------------------------------------------------------


def summary(running: RunningJob) -> Stage:
    """Text, JSON and PNG of all that was found; the JSON is the job's result."""
    from trainer.deploy.pipeline_report import write

    pipe = pipe_of(running)
    yield Progress(done=0, total=1, unit="reports")
    document = write(pipe.folder, pipe.recipe, pipe.run, pipe.state())
    shutil.rmtree(pipe.folder / "candidates", ignore_errors=True)
    deployed = document["deploy"]
    used = {"deployed": f"{deployed['name']}@{deployed['version']}"} if deployed.get("deployed") else {}
    return Finished(document, models={"base": pipe.recipe.model} | used)
