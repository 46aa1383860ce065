"""What a key may name of this server's disk and of the hub. The operator names what they like; others find here, in the
same words, that what is not theirs is not there.
"""

from __future__ import annotations

import os
from pathlib import Path

from api.http.deps import Context
from api.requests.errors import pointed
from api.requests.owned import may_use_run
from milo.errors import Forbidden, MiloError
from milo.ledger import owners
from milo.ledger.keys import Key
from milo.models import registry
from milo.models.contained import check_contained
from milo.recipes import TASKS, Data, Task
from milo.storage.roots import named_path
from milo.training import runs
from milo.training.correction_sets import folder_of
from milo.training.datasets import HUB_ID, kind_of, not_there
from milo.training.runs import Run

OF_RUNS = ("model", "resume")
"""Fields that may name checkpoints of the key's own runs."""


def reached_path(context: Context, key: Key, name: str, field: str) -> str:
    """A path as its job is to have it: for keys without `admin` resolved, and under an allowed root or in a
    run of theirs. `Forbidden` or
    `Invalid`, with a pointer to the field."""
    path = named_path(name)
    if key.may("admin"):
        return name
    if _is_own(context, key, name, field):
        return os.path.realpath(path)
    try:
        return context.files.allowed_path(str(path))
    except Forbidden as error:
        error.errors = [{"detail": error.detail, "pointer": f"#/{field}"}]
        raise
    except MiloError as error:
        raise pointed(f"{field.replace('/', '.')}: {error.detail}", field, "bad_recipe") from None


def _is_own(context: Context, key: Key, name: str, field: str) -> bool:
    """Whether a path leads into a run, or a set of corrections, that is the key's, where the field may name such."""
    if field in OF_RUNS:
        run = real_below(name, runs.root(context.settings))
        return run is not None and may_use_run(context, key, Run(runs.root(context.settings) / run))
    job_id = real_below(name, folder_of(context.settings, ""))
    return job_id is not None and owners.is_of_job(context.ledger.engine, job_id, key.owner or "")


def reached_data(context: Context, key: Key, data: Data, task: Task) -> Data:
    """A data part as its job is to have it. Whoever is not the operator is confined to the allowed roots."""
    if key.may("admin"):
        named_path(data.source)  # raises for what can't be one
        return data
    source = data.source
    if registry.is_path(source):
        source = reached_path(context, key, source, "data/source")
    elif TASKS[task].examples == "recordings" and kind_of(source, confined=True) == "hub":
        need_hub(context, key, source, "data/source")
    elif source != "synthetic":
        raise not_there(source)
    return data.model_copy(update={"source": source, "confined": True})


def reached_model(context: Context, key: Key, name: str, field: str = "model") -> str:
    """The name of a model, or the folder of one, as its job is to have it."""
    if not registry.is_path(name):
        return name
    reached = reached_path(context, key, name, field)
    if not key.may("admin") and Path(reached).is_dir():
        check_contained(context.settings, Path(reached))
    return reached


def need_hub(context: Context, key: Key, name: str, field: str) -> None:
    """Raises `Forbidden` unless the key may have something fetched from the hub (MILO_HUB_NAMES)."""
    if key.may(context.settings.hub_names):
        return
    detail = f"{name!r} would be fetched from the hub, which keys with the scope 'admin' ask for (MILO_HUB_NAMES)"
    raise Forbidden(detail, code="hub_not_allowed", errors=[{"detail": detail, "pointer": f"#/{field}"}])


def is_hub_id(name: str) -> bool:
    return bool(HUB_ID.match(name.partition("@")[0]))


def real_below(path: str, folder: Path) -> str | None:
    """The first part of a path below a folder, links resolved; None outside of it."""
    real, place = os.path.realpath(named_path(path)), os.path.realpath(folder)
    return real[len(place) + 1 :].partition("/")[0] or None if real.startswith(f"{place}/") else None
