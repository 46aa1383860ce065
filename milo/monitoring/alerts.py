"""What an operator should look at, as one table: a condition on a field of the status document each.

A new alert is one row here and one in the table of `docs/operations.md`. The first five are those that a monitor of the
training was told to watch for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, cast

from milo.monitoring.rules import HOT_C
from milo.monitoring.schema import AlertStatus, Level, MeasuredStatus, Status

RISING = 1.5
PATIENCE_S = 60
"""Longer than any model takes to load that was loaded before; the worker is held up then, or there are too few."""


@dataclass(frozen=True)
class Condition:
    """When a value is too much: as text, and as a function of the value and the document. Null never is."""

    text: str
    holds: Callable[[Any, MeasuredStatus], bool]


def above(limit: float) -> Condition:
    return Condition(f"> {limit}", lambda value, _: value > limit)


def above_field(field: str) -> Condition:
    """Above another field of the document; where that is null, there is no limit."""
    return Condition(f"> {field}", lambda value, document: value > _limit(document, field, math.inf))


def below_field(field: str) -> Condition:
    """Below another field of the document; where that is null, there is no limit."""
    return Condition(f"< {field}", lambda value, document: value < _limit(document, field, -math.inf))


def _limit(document: MeasuredStatus, field: str, if_null: float) -> float:
    limit = value_of(document, field)
    return if_null if limit is None else float(limit)


IS_FALSE = Condition("= false", lambda value, _: not value)


@dataclass(frozen=True)
class Alert:
    """One thing to watch: `field` of the status document under a condition; `means` tells a person what it means."""

    name: str
    level: Level
    field: str
    condition: Condition
    means: str
    runbook: str = ""
    """Where it is written what to do."""


ALERTS: tuple[Alert, ...] = (
    Alert("gpu_hot", "warning", "gpu.temp_c", above(HOT_C), "the card may throttle"),
    Alert("orchestrator_down", "critical", "orchestrator", IS_FALSE, "nothing can train or evaluate"),
    Alert("auto_fixes", "warning", "auto_fixes", above(0), "look at what was mended: `fixes`"),
    Alert("step_not_moving", "critical", "training.still_s", above_field("training.stuck_after_s"), "it may hang"),
    Alert("loss_rising", "warning", "training.loss_ratio", above(RISING), "the training is unstable"),
    Alert("people_wait", "critical", "people_wait_s", above(PATIENCE_S), "the GPU worker is held up, or overrun"),
    Alert("disk_low", "critical", "disk.free_bytes", below_field("disk.needed_bytes"), "no room for two checkpoints"),
)


def value_of(document: MeasuredStatus, field: str) -> Any:
    """A field of the document by its path, such as `gpu.temp_c`."""
    return reduce(lambda section, name: section[name], field.split("."), cast("Mapping[str, Any]", document))


def judge(document: MeasuredStatus, before: Status | None) -> list[AlertStatus]:
    """Every alert, on or off. `before` is the last document: what was on there stays on since then."""
    on_since = {one["name"]: one["since"] for one in before.get("alerts", [])} if before else {}
    rows: list[AlertStatus] = []
    for alert in ALERTS:
        value = value_of(document, alert.field)
        active = value is not None and alert.condition.holds(value, document)
        rows.append(
            {
                "name": alert.name,
                "level": alert.level,
                "field": alert.field,
                "threshold": alert.condition.text,
                "means": alert.means,
                "value": value,
                "active": active,
                "since": (on_since.get(alert.name) or document["updated_at"]) if active else None,
            }
        )
    return rows


def sentence(alert: AlertStatus) -> str:
    """What is on, its value, its threshold, since when."""
    return "{name}: {field} is {value} ({threshold}) since {since}".format(**alert)


def active(document: Status) -> list[str]:
    """Names of the alerts that are on."""
    return [one["name"] for one in document.get("alerts", []) if one["active"]]
