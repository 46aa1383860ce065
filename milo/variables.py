"""Names of environment variables: which of them are settings, which are not and do nothing, and what to say of them.

A setting that does nothing is a mistake that nobody sees, so `milo up`, `milo doctor` and the API's log name each.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Literal

from dotenv import dotenv_values
from pydantic import AliasChoices, ValidationError

from milo.settings import Settings

IGNORED = {
    "RATE_LIMIT_FREE": "Milo knows no plans; MILO_RATE_LIMIT is the limit of every key",
    "RATE_LIMIT_PRO": "Milo knows no plans; MILO_RATE_LIMIT is the limit of every key",
    "PROMETHEUS_ENABLED": "/metrics is always there; MILO_METRICS_ALLOW says who may read it without a key",
}
"""Names of the prototype that Milo has no setting for, and why."""
BY_UP = "MILO_UP"
"""Set in what `milo up` starts: there every setting has its `MILO_` name beside what the user wrote."""
NOT_SETTINGS = (BY_UP, "MILO_WORKER_NODE", "MILO_REDIS_PASSWORD")
"""What `milo up` gives its children, and what docker-compose.yml puts into MILO_REDIS_URL."""
NOT_OURS = ("MILO_TEST_", "MILO_FAULT_", "COMPOSE_", "FLOWER_")
"""Prefixes of names that the tests, docker compose and Flower read."""
_SECRET = re.compile("KEY|TOKEN|PASSWORD|SECRET|URL")


@dataclass(frozen=True)
class Notice:
    """Something to say of a variable. `warning`: it does nothing, and somebody meant it to."""

    level: Literal["warning", "note"]
    text: str


@lru_cache(maxsize=1)
def names() -> dict[str, str]:
    """Every name that is read -> the field it sets; `MILO_` names first."""
    own = {f"MILO_{field.upper()}": field for field in Settings.model_fields}
    return own | {
        str(choice): name
        for name, field in Settings.model_fields.items()
        if isinstance(field.validation_alias, AliasChoices)
        for choice in field.validation_alias.choices
    }


def notices(environment: Mapping[str, str] | None = None, env_file: Path | str | None = ".env") -> list[Notice]:
    """What to say of the variables of this process and of the `.env` file, warnings first."""
    outside = dict(os.environ if environment is None else environment)
    inside = {
        name: value or "" for name, value in (dotenv_values(env_file) if env_file else {}).items() if name.strip()
    }
    both = _upper(inside) | _upper(outside)
    found = [*_unknown(_upper(outside), ""), *_unknown(_upper(inside), f" in {env_file}"), *_foreign(both)]
    return sorted(dict.fromkeys(found), key=lambda notice: notice.level != "warning")


def _upper(variables: Mapping[str, str]) -> dict[str, str]:
    return {name.upper(): value for name, value in variables.items()}  # as pydantic-settings reads them


def _unknown(variables: Mapping[str, str], where: str) -> Iterator[Notice]:
    """Names that Milo does not know: of the environment only those that say they are Milo's."""
    for name, value in variables.items():
        if name in names() or name in NOT_SETTINGS or name.startswith(NOT_OURS):
            continue
        if name in IGNORED:
            if where or name.startswith("RATE_LIMIT_"):
                yield Notice("note", f"{name}={value}{where} does nothing: {IGNORED[name]}")
        elif name.startswith("MILO_") or where:
            hint = _nearest(name)
            level: Literal["warning", "note"] = "warning" if name.startswith("MILO_") or hint else "note"
            yield Notice(level, f"{name}{where} is no setting of Milo, so it does nothing.{hint}")


def _nearest(name: str) -> str:
    close = get_close_matches(name, names(), n=1, cutoff=0.75)
    if not close and not name.startswith("MILO_"):
        close = [f"MILO_{name}"] if f"MILO_{name}" in names() else []
    return f" Did you mean {close[0]}?" if close else ""


def _foreign(variables: Mapping[str, str]) -> Iterator[Notice]:
    """Names of other programs that are read for a setting, and those that a `MILO_` name of another value hides."""
    read = []
    for name, value in variables.items():
        if name.startswith("MILO_") or name not in names():
            continue
        own = f"MILO_{names()[name].upper()}"
        if own not in variables:
            read.append(f"{name} as {own}")
        elif variables[own] != value and BY_UP not in variables:
            yield Notice("note", f"{name} does nothing: {own} is set, and goes before it")
    if read:
        yield Notice("note", f"read by the names of other programs: {', '.join(read)}")


def explain(error: ValidationError) -> str:
    """Which variable has which wrong value, and what would be right; secrets are not repeated."""
    problems = []
    for one in error.errors():
        at = str(one["loc"][0]) if one["loc"] else ""
        field = names().get(at.upper(), at)
        read = [name for name, its in names().items() if its == field and os.environ.get(name) is not None]
        name = read[0] if read else f"MILO_{field.upper()}"
        value = "" if _SECRET.search(name) or not isinstance(one["input"], str) else f"={one['input'][:100]!r}"
        problems.append(f"{name}{value}: {one['msg'].removeprefix('Value error, ')}")
    return f"a setting is wrong: {'; '.join(problems)}"
