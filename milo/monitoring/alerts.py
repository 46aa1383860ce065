"""What an operator should look at, as data: a threshold on a field of the status document each.

The first five are those that a monitor of the training was told to watch for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal

from milo.monitoring.rules import HOT_C
from milo.monitoring.store import tail
from milo.training.runs import Run

RISING = 1.5
RECENT, WINDOW = 5, 200
"""Logged losses that are "the last ones", and how many of them are looked at."""
LOW_DISK_BYTES = 2 * 1024**3


@dataclass(frozen=True)
class Alert:
    """One thing to watch. `over(document)` gives the value and whether it is too much."""

    name: str
    level: Literal["warning", "critical"]
    field: str
    threshold: str
    means: str
    over: Callable[[dict[str, Any]], tuple[Any, bool]]


def _temperature(document: dict[str, Any]) -> tuple[Any, bool]:
    value = document["gpu"]["temp_c"]
    return value, value is not None and value > HOT_C


def _orchestrator(document: dict[str, Any]) -> tuple[Any, bool]:
    return document["orchestrator"], not document["orchestrator"]


def _fixes(document: dict[str, Any]) -> tuple[Any, bool]:
    return document["auto_fixes"], document["auto_fixes"] > 0


def _still(document: dict[str, Any]) -> tuple[Any, bool]:
    still_s, limit_s = document["training"]["still_s"], document["training"]["stuck_after_s"]
    return still_s, still_s is not None and limit_s is not None and still_s > limit_s


def _loss(document: dict[str, Any]) -> tuple[Any, bool]:
    ratio = document["training"]["loss_ratio"]
    return ratio, ratio is not None and ratio > RISING


def _disk(document: dict[str, Any]) -> tuple[Any, bool]:
    free = document["disk"]["free_bytes"]
    return free, free is not None and free < document["disk"]["needed_bytes"]


ALERTS: tuple[Alert, ...] = (
    Alert("gpu_hot", "warning", "gpu.temp_c", f"> {HOT_C}", "the card may throttle", _temperature),
    Alert("orchestrator_down", "critical", "orchestrator", "= false", "nothing can train or evaluate", _orchestrator),
    Alert("auto_fixes", "warning", "auto_fixes", "> 0", "look at what was mended: `fixes`", _fixes),
    Alert("step_not_moving", "critical", "training.still_s", "> training.stuck_after_s", "it may hang", _still),
    Alert("loss_rising", "warning", "training.loss_ratio", f"> {RISING}", "the training is unstable", _loss),
    Alert("disk_low", "critical", "disk.free_bytes", "< disk.needed_bytes", "no room for two checkpoints", _disk),
)


def judge(document: dict[str, Any], before: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Every alert, on or off. `before` is the last document: what was on there stays on since then."""
    known = {one["name"]: one for one in (before or {}).get("alerts", [])}
    found = []
    for alert in ALERTS:
        value, on = alert.over(document)
        row = {name: text for name, text in asdict(alert).items() if name != "over"}
        since = known.get(alert.name, {}).get("since") or document["updated_at"]
        found.append(row | {"value": value, "active": on, "since": since if on else None})
    return found


def loss_ratio(run: Run | None) -> float | None:
    """The last losses against the lowest that the run had lately: medians of `RECENT`. None: too few were logged."""
    if run is None:
        return None
    losses = [float(row["train/loss"]) for row in tail(run.path / "metrics.jsonl") if _is_number(row.get("train/loss"))]
    losses = losses[-WINDOW:]
    if len(losses) < 2 * RECENT:
        return None
    medians = [median(losses[start : start + RECENT]) for start in range(len(losses) - RECENT + 1)]
    lowest = min(medians)
    return round(medians[-1] / lowest, 3) if lowest > 0 else None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and value == value and abs(value) != float("inf")


def sentence(alert: dict[str, Any]) -> str:
    """What is on, its value, its threshold, since when."""
    return "{name}: {field} is {value} ({threshold}) since {since}".format(**alert)


def active(document: dict[str, Any]) -> list[str]:
    """Names of the alerts that are on."""
    return [one["name"] for one in document.get("alerts", []) if one["active"]]
