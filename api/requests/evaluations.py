"""What evaluations, pipelines and deploys ask for, checked before anything is queued. Opens no model.

A key without the scope `admin` names folders only where Milo itself writes, or under an allowed root. What is to serve
comes from there whoever asks.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from api.http.deps import Context
from api.requests.stt import Closed, Text
from api.requests.trainings import check_recipe, may_read, pointed
from milo import recipes
from milo.errors import Forbidden, Invalid, MiloError, NotFound
from milo.jobs import DeployPayload, EvaluationPayload, PipelinePayload, Priority
from milo.ledger.keys import Key
from milo.models import registry
from milo.recipes import TASKS, Data, Evaluation, Recipe, Task
from milo.settings import Settings
from milo.storage.roots import named_path
from milo.training import datasets, runs

OWN_FOLDERS = ("runs", "models")
"""Under MILO_HOME: what Milo wrote there may be read again."""
_STEP = re.compile(r"^(?:checkpoint-)?(\d+)$")


def _by_source(data: object) -> object:
    return {"source": data} if isinstance(data, str) else data


Judged = Annotated[Data, BeforeValidator(_by_source, json_schema_input_type=Data | str)]
"""A data part as in a recipe, or only its `source`."""


class EvaluationRequest(Closed):
    """Judge a model on a split of a data set."""

    model: Text
    """A name of the registry, a hub id, a run (its best checkpoint), or a checkpoint folder under runs/."""
    data: Judged
    task: Task = "whisper"
    evaluation: Evaluation = Evaluation()
    name: Text | None = None
    callback_url: Text | None = None
    priority: Priority | None = None
    """background, if nothing is said."""


class DeployRequest(Closed):
    """Which folder shall serve: exactly one of `path`, `run` and `checkpoint` (that one also together with `run`)."""

    path: Text | None = None
    run: Text | None = None
    """Id of a run, of its job, or the recipe's name (its latest run)."""
    checkpoint: Text | None = None
    """`best`, `last` or a step of the run; without `run`: a path below runs/."""
    data: Judged | None = None
    """What it is judged on; None: what its run's recipe says."""
    evaluation: Evaluation | None = None
    task: Task | None = None
    half: bool = False
    """Store the weights in float16."""
    ungated: bool = False
    """Do not compare it with what serves. It is tried out all the same."""
    callback_url: Text | None = None


# --- evaluations and pipelines ----------------------------------------------------------------------------------------


def evaluation_payload(context: Context, key: Key, asked: EvaluationRequest) -> dict[str, Any]:
    """The payload of an `evaluation` job, its model and data checked."""
    if why := TASKS[asked.task].no_error_rate:
        raise pointed(f"{why}; listen to the samples of its run", "task", "not_evaluable")
    data = check_data(context, key, asked.data, asked.task)
    model = check_model(context, key, asked.model)
    payload = EvaluationPayload(
        model=model, data=data, task=asked.task, evaluation=asked.evaluation, name=asked.name or asked.model
    )
    return payload.model_dump(mode="json")


def pipeline_payload(context: Context, key: Key, recipe: Recipe) -> dict[str, Any]:
    """The payload of a `pipeline` job. Raises `Invalid` that names the field of the recipe."""
    check_recipe(context, key, recipe)
    if recipe.deploy is not None:
        registry.serving(context.settings, recipe.deploy.name)  # raises for what can't be a name
        if not key.may("admin"):
            raise Forbidden(
                f"the key {key.name!r} has not the scope 'admin', which deploying needs", code="missing_scope"
            )
    return PipelinePayload(recipe=recipe, name=recipe.name).model_dump(mode="json")


def check_data(context: Context, key: Key, data: Data, task: Task) -> Data:
    """The data part, if its source is there and may be read. `Invalid` or `Forbidden`."""
    if data.source != "synthetic":
        may_read(context, key, data.source, "data/source")  # first: nobody learns here what else is on this machine
    datasets.check(data, task)
    return data


def check_model(context: Context, key: Key, name: str) -> str:
    """A model by name, or the folder of one, or of a run's checkpoint. A hub id that is not here is for the worker."""
    settings, name = context.settings, name.strip()
    may_read(context, key, name, "model")
    try:
        resolved = registry.resolve(settings, name)
    except MiloError as error:
        found = _of_run(settings, name)
        if found is not None:
            return check_folder(settings, str(found))
        if datasets.HUB_ID.match(name.partition("@")[0]) and not settings.offline:
            return name
        raise pointed(error.detail, "model", "unknown_model") from None
    return str(resolved.path) if resolved.kind == "folder" else name


def _of_run(settings: Settings, name: str) -> Path | None:
    """`RUN` or `RUN/checkpoint-70`."""
    run_name, _, checkpoint = name.partition("/")
    run = runs.find(settings, run_name) if run_name else None
    return checkpoint_of(run, checkpoint or "best") if run else None


def check_folder(settings: Settings, path: str) -> str:
    """A folder or file that requests may name, resolved. `Forbidden` outside of the allowed places."""
    real = named_path(path).resolve()
    places = [settings.home / name for name in OWN_FOLDERS]
    places += [Path(root) for root in settings.audio_roots if "://" not in root]
    if not any(real.is_relative_to(os.path.realpath(place)) for place in places):
        raise Forbidden(
            f"{path!r} is not under {settings.home / 'runs'}, nor under an allowed root; the operator lists those in"
            " MILO_AUDIO_ROOTS",
            code="path_not_allowed",
        )
    if not real.exists():
        raise NotFound(f"there is no {path!r} on the server", code="unknown_path")
    return str(real)


# --- deploys ----------------------------------------------------------------------------------------------------------


def deploy_payload(context: Context, key: Key, name: str, asked: DeployRequest) -> dict[str, Any]:
    """The payload of a `deploy` job: which folder, what it came from, and what it is judged on."""
    settings = context.settings
    serving = registry.serving(settings, name)
    folder, run = _folder_of(settings, asked)
    recipe = _recipe_of(run)
    task = asked.task or (recipe.task if recipe else "whisper")
    data = check_data(context, key, asked.data, task) if asked.data else recipe.data if recipe else None
    evaluation = asked.evaluation or (recipe.evaluation if recipe else Evaluation())
    if asked.ungated:
        data = None
    elif data is None and serving and not TASKS[task].no_error_rate:
        raise pointed(
            f"{name} serves {serving}: name the `data` to compare them on, or say `ungated`",
            "data",
            "nothing_to_compare_on",
        )
    payload = DeployPayload(
        model=name,
        path=folder,
        base=recipe.model if recipe else None,
        task=task,
        data=data,
        evaluation=evaluation,
        half=asked.half,
        name=f"{name} from {Path(folder).name}",
    )
    return payload.model_dump(mode="json")


def _folder_of(settings: Settings, asked: DeployRequest) -> tuple[str, runs.Run | None]:
    if (asked.path is not None) + (asked.run is not None or asked.checkpoint is not None) != 1:
        raise Invalid("give one of `path`, `run` and `checkpoint`", code="which_folder")
    if asked.run is not None:
        run = runs.find(settings, asked.run)
        if run is None:
            raise NotFound(f"there is no run {asked.run!r} here", code="unknown_run")
        return check_folder(settings, str(checkpoint_of(run, asked.checkpoint or "best"))), run
    path = asked.path if asked.path is not None else str(runs.root(settings) / (asked.checkpoint or ""))
    folder = Path(check_folder(settings, path))
    if not folder.is_dir():
        raise Invalid(f"{path!r} is not a folder", code="not_a_folder")
    root = Path(os.path.realpath(runs.root(settings)))
    own = folder.relative_to(root).parts if folder.is_relative_to(root) else ()
    run = runs.Run(root / own[0]) if own else None
    if run is not None and len(own) == 1:
        return check_folder(settings, str(checkpoint_of(run, "best"))), run
    return str(folder), run


def checkpoint_of(run: runs.Run, which: str) -> Path:
    """A checkpoint of a run by `best`, `last`, its step or its name. `best` is the last one where none was judged."""
    there, summary = run.checkpoints(), run.summary()
    match = _STEP.match(which)
    step = int(match[1]) if match else None
    if which in ("best", "last"):
        named = summary.get(which) or summary.get("last") or {}
        step = named.get("step") or max(there, default=None)
    if step not in there:
        known = ", ".join(map(str, there)) or "none yet"
        raise NotFound(f"the run {run.id} has no checkpoint {which!r}; its steps: {known}", code="unknown_checkpoint")
    return there[step]


def _recipe_of(run: runs.Run | None) -> recipes.Recipe | None:
    if run is None or not (run.path / "config.yaml").is_file():
        return None
    return recipes.read(run.path / "config.yaml")


def roll_back(context: Context, name: str) -> dict[str, Any]:
    """Serve the version before. `NotFound` for a name that is not here, `Conflict` when there is no earlier one."""
    if name not in {entry.name for entry in registry.list_models(context.settings)}:
        raise NotFound(f"there is no model {name!r} here", code="unknown_model")
    before = registry.serving(context.settings, name)
    version = registry.rollback(context.settings, name)
    return {"name": name, "version": version, "before": before}
