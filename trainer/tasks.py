"""The ways of training: for each task of a recipe, what trains it, what evaluates it, and what tries it out.

One row a task; `docs/adding-a-training.md` shows how to add one. What a recipe of the task may say stands in
`milo.recipes.TASKS`, because the web process checks recipes and holds no trainer; a test keeps the two in step.
The parts are named as entry points are, `package.module:name`, and imported on first use: a worker that only
evaluates never loads a trainer, and an installation without the extra `train` still serves.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from milo.errors import Invalid, MiloError
from milo.recipes import Recipe
from milo.settings import Settings
from milo.training.runs import Run
from trainer.loop.step import Step

Train = Callable[[Settings, Recipe, Run], Generator[Step, None, dict[str, Any]]]
"""Yields after every optimizer step, returns the run's summary, goes on from the last good checkpoint of the run."""


@dataclass(frozen=True)
class TaskParts:
    """Where the parts of a task are."""

    train: str
    """A `Train`."""
    smoke: str
    """A `trainer.deploy.smoke.Smoke`: does a model of this task load in the engine that serves, and make sense?"""
    evaluate: str | None
    """A `trainer.evaluation.plan.Method`. None: it has no error rate, as `milo.recipes.TASKS` says too."""


TASKS: dict[str, TaskParts] = {
    "whisper": TaskParts(
        "trainer.whisper.train:train", "trainer.deploy.smoke_tasks:SPEECH", "trainer.evaluation.speech:METHOD"
    ),
    "vits": TaskParts("trainer.vits.train:train", "trainer.deploy.smoke_tasks:VOICE", None),
    "nllb": TaskParts(
        "trainer.nllb.train:train", "trainer.deploy.smoke_tasks:TRANSLATION", "trainer.evaluation.text:METHOD"
    ),
}


def trainer_of(task: str) -> Train:
    """What trains a task. Raises `MiloError` when this installation lacks what it needs."""
    if task not in TASKS:
        raise Invalid(f"task: there is no trainer for {task} here; {', '.join(TASKS)}", code="bad_recipe")
    try:
        train: Train = load(TASKS[task].train)
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("trainer"):
            raise Invalid(f"task: there is no trainer for {task} here", code="bad_recipe") from None
        detail = f"training needs the package {error.name}; install milo with the extra `train`"
        raise MiloError(detail, code="not_installed") from None
    return train


def load(place: str) -> Any:
    """What `package.module:name` names."""
    module, name = place.split(":")
    return getattr(importlib.import_module(module), name)
