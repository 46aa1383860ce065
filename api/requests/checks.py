"""From what a client may send to the payload of a job: the checks of a kind, found by its name.

`api.requests.<kind>` may have `check(context, key, asked)`, which makes the payload or raises what is wrong, and
`write(context, new)`, where more belongs to a submission than its row. A kind without them needs nothing but its row
in `milo.kinds`.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from pydantic import BaseModel

from api.http.bodies import validate
from api.http.deps import Context
from api.requests.models import choose_name
from api.requests.writing import write_job
from milo.jobs import Job, NewJob
from milo.kinds import KINDS
from milo.ledger.keys import Key


def check(context: Context, key: Key, kind: str, asked: BaseModel) -> BaseModel:
    """The payload of a job, everything in it checked. Raises `Invalid` that says what would be right."""
    own: Callable[[Context, Key, BaseModel], BaseModel] | None = _own(kind, "check")
    return own(context, key, asked) if own else _by_row(context, kind, asked)


def writer_of(kind: str) -> Callable[[Context, NewJob], Job]:
    """What writes the row of such a job."""
    own: Callable[[Context, NewJob], Job] = _own(kind, "write") or write_job
    return own


@lru_cache
def _own(kind: str, name: str) -> Any:
    module = f"api.requests.{kind}"
    return getattr(importlib.import_module(module), name, None) if importlib.util.find_spec(module) else None


def _by_row(context: Context, kind: str, asked: BaseModel) -> BaseModel:
    """The fields of the payload as they were sent, and the model where the kind needs one."""
    row = KINDS[kind]
    fields = row.payload.model_fields
    given = asked.model_dump(include=set(fields))
    if row.model and "model" in fields:
        given["model"] = choose_name(context, row.model, given.get("model"))
    return validate(given, row.payload)
