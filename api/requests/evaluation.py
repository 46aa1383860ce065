"""Evaluations: a model, and what it is judged on, checked before anything is queued. Opens no model.

A key without the scope `admin` names folders only where Milo itself writes, or under an allowed root. What is to serve
comes from there whoever asks.
"""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator

from api.http.deps import Context
from api.requests.errors import pointed
from api.requests.owned import may_use_run
from api.requests.reach import is_hub_id, need_hub, reached_data, reached_model
from milo.errors import Forbidden, MiloError, NotFound
from milo.jobs import Priority
from milo.kinds.fields import Closed, Text
from milo.kinds.training import EvaluationPayload
from milo.ledger.keys import Key
from milo.models import registry
from milo.recipes import TASKS, Data, Evaluation, Task
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


def check(context: Context, key: Key, asked: EvaluationRequest) -> EvaluationPayload:
    """The payload of an `evaluation` job, its model and data checked."""
    if why := TASKS[asked.task].no_error_rate:
        raise pointed(f"{why}; listen to the samples of its run", "task", "not_evaluable")
    data = check_data(context, key, asked.data, asked.task)
    model = check_model(context, key, asked.model)
    return EvaluationPayload(
        model=model, data=data, task=asked.task, evaluation=asked.evaluation, name=asked.name or asked.model
    )


def check_data(context: Context, key: Key, data: Data, task: Task) -> Data:
    """The data part, if its source is there and may be read. `Invalid` or `Forbidden`."""
    data = reached_data(context, key, data, task)  # first: nobody learns here what else is on this machine
    datasets.check(data, task, places=datasets.places_of(context.settings, data))
    return data


def check_model(context: Context, key: Key, name: str) -> str:
    """A model by name, or the folder of one, or of a run's checkpoint. A hub id that is not here is for the worker."""
    settings, name = context.settings, name.strip()
    name = reached_model(context, key, name)
    try:
        resolved = registry.resolve(settings, name, here=key.may("admin"))
    except MiloError as error:
        checkpoint = _of_run(context, key, name)
        if checkpoint is not None:
            return check_folder(settings, str(checkpoint))
        if is_hub_id(name) and not settings.offline:
            need_hub(context, key, name, "model")
            return name
        raise pointed(error.detail, "model", "unknown_model") from None
    return str(resolved.path) if resolved.kind == "folder" else name


def _of_run(context: Context, key: Key, name: str) -> Path | None:
    """`RUN` or `RUN/checkpoint-70`, of the runs that the key may use."""
    run_name, _, checkpoint = name.partition("/")
    run = runs.find(context.settings, run_name, partial(may_use_run, context, key)) if run_name else None
    return checkpoint_of(run, checkpoint or "best") if run else None


def check_folder(settings: Settings, path: str) -> str:
    """The folder of a model that requests may name, resolved. `Forbidden` outside of the allowed places."""
    real = named_path(path).resolve()
    places = [settings.home / name for name in OWN_FOLDERS]
    places += [Path(root) for root in settings.audio_roots if "://" not in root]
    if not any(real.is_relative_to(os.path.realpath(place)) for place in places):
        raise Forbidden(
            f"{path!r} is not where this server takes models from: copy it into {settings.home / 'runs'}, and name"
            " it there",
            code="path_not_allowed",
        )
    if not real.exists():
        raise NotFound(f"there is no {path!r} on the server", code="unknown_path")
    return str(real)


def checkpoint_of(run: runs.Run, which: str) -> Path:
    """A checkpoint of a run by `best`, `last`, its step or its name. `best` is the last one where none was judged."""
    there, summary = run.checkpoints(), run.summary()
    match = _STEP.match(which)
    step = int(match[1]) if match else None
    if which in ("best", "last"):
        named = summary.get(which) or summary.get("last") or {}
        step = named.get("step") or max(there, default=None)
    if step not in there:
        steps = ", ".join(map(str, there)) or "none yet"
        raise NotFound(f"the run {run.id} has no checkpoint {which!r}; its steps: {steps}", code="unknown_checkpoint")
    return there[step]
