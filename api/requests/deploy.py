"""Deploys: which folder is to serve, what it came from, and what it is judged on."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, Field

from api.http.deps import Context
from api.requests.errors import pointed
from api.requests.evaluation import Judged, check_data, check_folder, checkpoint_of
from milo import recipes
from milo.errors import Invalid, NotFound
from milo.kinds.fields import Closed, Text
from milo.kinds.training import DeployPayload
from milo.ledger.keys import Key
from milo.models import registry
from milo.recipes import TASKS, Evaluation, Task
from milo.settings import Settings
from milo.training import runs


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
    margin: float | None = Field(None, ge=0, lt=1)
    """How much worse than what serves it may be at most, on its data and on each guard set: a difference of error
    rates. None: what its run's recipe says, else MILO_DEPLOY_MARGIN."""
    callback_url: Text | None = None


class RolledBack(BaseModel):
    """Which version serves now, and which one did before."""

    name: str
    version: str
    before: str | None


def payload_of(context: Context, key: Key, name: str, asked: DeployRequest) -> DeployPayload:
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
    return DeployPayload(
        model=name,
        path=folder,
        base=recipe.model if recipe else None,
        task=task,
        data=data,
        evaluation=evaluation,
        half=asked.half,
        margin=asked.margin if asked.margin is not None else recipe.deploy.margin if recipe and recipe.deploy else None,
        called=recipe.name if recipe and not asked.data else "",
        name=f"{name} from {Path(folder).name}",
    )


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


def _recipe_of(run: runs.Run | None) -> recipes.Recipe | None:
    if run is None or not (run.path / "config.yaml").is_file():
        return None
    return recipes.read(run.path / "config.yaml")


def roll_back(context: Context, name: str) -> RolledBack:
    """Serve the version before. `NotFound` for a name that is not here, `Conflict` when there is no earlier one."""
    if name not in {entry.name for entry in registry.list_models(context.settings)}:
        raise NotFound(f"there is no model {name!r} here", code="unknown_model")
    before = registry.serving(context.settings, name)
    version = registry.rollback(context.settings, name)
    return RolledBack(name=name, version=version, before=before)
