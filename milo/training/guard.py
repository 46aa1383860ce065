"""The guard of a registered model: sets of data that it was good at, which no later version may be worse on.

`models/<name>/guard.json`, beside the pointer to what serves; a model that ships inside the package brings its first
one along. A set's held-out split is what a deploy compares on (`trainer.deploy.comparison`); its training split is the
old data that a training mixes in (`trainer.data.replay`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from milo.errors import Invalid, NotFound
from milo.models import store
from milo.models.files import GUARD, read_json, write_durably
from milo.models.resolve import is_path
from milo.recipes import Data, Evaluation, Part, Task
from milo.settings import Settings

Verdict = Literal["not worse", "worse", "not shown", "insufficient_data"]
"""`not shown`: it may be worse by more than the margin, and this set can't tell."""


class Judged(Part):
    """What the last deploy found on a set; rates are fractions, below zero is better."""

    version: str
    verdict: Verdict
    difference: float
    upper: float
    margin: float


class GuardSet(Part):
    """Data that the model was good at, and how it is judged there."""

    name: str = Field(min_length=1)
    task: Task
    data: Data
    evaluation: Evaluation = Evaluation()
    sha256: str | None = None
    """Of the judged split when it was added. None: made from its seed, which names it well enough."""
    added_by: str = ""
    """The version whose deploy added it; empty: a person, or Milo."""
    last: Judged | None = None

    @property
    def verdict(self) -> str:
        """What the last deploy found, for people."""
        if self.last is None:
            return "none yet"
        return f"{self.last.verdict}: {self.last.difference:+.1%}, at most {self.last.upper:+.1%} ({self.last.version})"

    def is_of(self, task: Task, data: Data) -> bool:
        """Whether this set is that data."""
        return self.task == task and self.data == data


class Guard(Part):
    """guard.json."""

    version: Literal[1] = 1
    sets: tuple[GuardSet, ...] = ()


def path_of(settings: Settings, name: str) -> Path:
    """Where the guard of a registered name is kept."""
    return store.home_of(settings, name) / GUARD


def read(settings: Settings, name: str) -> Guard:
    """The guard of a name; without sets where there is none, and for a folder. Raises `Invalid` for a broken file."""
    name = name.partition("@")[0]
    if is_path(name):
        return Guard()
    own, shipped = path_of(settings, name), store.embedded_path(name)
    path = own if own.is_file() or shipped is None else shipped / GUARD
    if not path.is_file():
        return Guard()
    try:
        return Guard.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise _broken(path, f"{where}: {str(first['msg']).removeprefix('Value error, ')}") from None
    except Exception as error:
        raise _broken(path, str(error)) from None


def _broken(path: Path, what: str) -> Invalid:
    detail = f"the guard {path} can't be used: {what}. Mend the file; or remove it, and nothing is guarded"
    return Invalid(detail, code="bad_guard")


def put(settings: Settings, name: str, sets: tuple[GuardSet, ...]) -> None:
    """Make these the guard of a name."""
    with store.locked(settings, name) as home:
        write_durably(home / GUARD, Guard(sets=sets).model_dump_json(indent=1, exclude_defaults=True) + "\n")


def forget(settings: Settings, name: str, one: str) -> None:
    """Take a set out of the guard. Raises `NotFound` that names those there are."""
    sets = read(settings, name).sets
    left = tuple(item for item in sets if item.name != one)
    if len(left) == len(sets):
        known = ", ".join(item.name for item in sets) or "none"
        raise NotFound(f"{name} has no guard set {one!r}; it has {known}", code="unknown_guard_set")
    put(settings, name, left)


def free_name(sets: tuple[GuardSet, ...], wanted: str) -> str:
    """`wanted`, or `wanted-2` and so on, where that is taken."""
    taken, number, name = {one.name for one in sets}, 1, wanted
    while name in taken:
        number += 1
        name = f"{wanted}-{number}"
    return name
