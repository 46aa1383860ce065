"""The systems that watch trainings, as whoever reads them sees them: a row a system, its status file, its fields.

`trainer.autonomy` writes `MILO_HOME/status/<file>.json`; what is here knows nothing of it but the names of the fields.
A file that lacks one of them is not shown as if it were whole: the reader says which field is missing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from milo.settings import Settings

PERIODS_TO_STALE = 2
ENVELOPE = (
    *("schema", "system", "state", "reason", "last_update", "interval_s", "stale_after_s", "run_id", "job_id"),
    *("checkpoint", "normaliser", "seed", "inputs"),
    *("data.name", "data.sha256", "data.items", "data.speakers", "data.ref_words"),
    *("cost.gpu_s", "cost.audio_s", "history[].at", "history[].state", "history[].checkpoint"),
)
"""Beside the fields of its own, each status file has these."""


@dataclass(frozen=True)
class Monitored:
    """One system."""

    name: str
    path: str
    """GET /api/<path>"""
    file: str
    period_s: float
    does: str
    fields: tuple[str, ...]
    """`a.b`: the field b of a; `a[].b`: of each of the list a. Inside of null nothing is asked for."""


MONITORED: tuple[Monitored, ...] = (
    Monitored(
        "regression",
        "regression",
        "regression_monitoring",
        3600,
        "whether the newest checkpoint is worse than what is deployed, or than the best one",
        (
            *("regression_detected", "checkpoint", "baseline_loss", "current_loss", "increase_percent", "alert_level"),
            *("baseline.checkpoint", "baseline.best", "alpha_left", "mde_90", "looks"),
            *("wer.baseline", "wer.current", "wer.difference", "wer.interval"),
        ),
    ),
    Monitored(
        "comparison",
        "model_comparison",
        "model_comparisons",
        3600,
        "which checkpoint is the one to take",
        (
            *("rankings[].checkpoint", "rankings[].score", "rankings[].accuracy", "rankings[].loss", "rankings[].ece"),
            *("rankings[].interval", "rankings[].rank_interval", "rankings[].tied_with"),
            *("best_checkpoint", "confirmed.wer", "confirmed.interval", "confirmed.optimism", "confirmed.reason"),
        ),
    ),
    Monitored(
        "calibration",
        "confidence",
        "confidence_calibration",
        3600,
        "whether the confidences of the newest checkpoint are true",
        (
            *("bins[].range", "bins[].accuracy", "bins[].count", "ece", "well_calibrated"),
            *("confidence", "ece_interval", "ece_after", "nce", "temperature"),
            *("slices[].slice", "slices[].words", "slices[].ece", "slices[].interval"),
        ),
    ),
    Monitored(
        "testing",
        "testing",
        "automated_testing",
        3600,
        "how the newest checkpoint does on slices, and how it behaves",
        (
            *("checkpoint", "overall_accuracy", "by_difficulty", "regression_detected", "baseline"),
            *("intervals", "strata.key", "strata.sha256", "strata.items", "rtf", "looks"),
            *("slices[].slice", "slices[].items", "slices[].accuracy", "slices[].difference", "slices[].p_holm"),
            *("slices[].worse", "slices[].mde_90"),
            *("behaviour[].name", "behaviour[].seen", "behaviour[].of", "behaviour[].ok"),
        ),
    ),
    Monitored(
        "deployment",
        "deployment",
        "last_deployment",
        3600,
        "what the last deploy came to, and whether it still serves",
        (
            *("checkpoint", "deployed_at", "score", "success", "previous", "rolled_back"),
            *("attempted_at", "name", "version", "serving"),
            *("gates[].gate", "gates[].verdict", "gates[].difference", "gates[].upper"),
        ),
    ),
)
BY_NAME: dict[str, Monitored] = {one.name: one for one in MONITORED}


@dataclass(frozen=True)
class Reading:
    """A status file as it is now. One of `document` and `problem` is empty."""

    document: dict[str, Any] | None
    problem: str
    age_s: float | None
    stale: bool


def period_of(settings: Settings, one: Monitored) -> float:
    return settings.system_periods.get(one.name, one.period_s)


def is_on(settings: Settings, name: str) -> bool:
    return name in settings.systems


def read(settings: Settings, one: Monitored, now: float | None = None) -> Reading:
    """Its file, if it is whole."""
    if not is_on(settings, one.name):
        return Reading(None, f"{one.name} is off: MILO_SYSTEMS does not name it", None, False)
    path = settings.home / "status" / f"{one.file}.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except FileNotFoundError:
        return Reading(None, f"{one.name} has not looked yet", None, False)
    except (OSError, ValueError) as error:
        return Reading(None, f"{path.name} can't be read: {error}", None, True)
    lacking = list(missing(document, tuple(dict.fromkeys((*ENVELOPE, *one.fields)))))
    if lacking:
        return Reading(None, f"{path.name} lacks {', '.join(lacking)}", None, True)
    age_s = (time.time() if now is None else now) - datetime.fromisoformat(document["last_update"]).timestamp()
    return Reading(document, "", round(age_s, 1), age_s > document["stale_after_s"])


def missing(document: object, fields: tuple[str, ...]) -> Iterator[str]:
    """The fields that a document lacks."""
    return (field for field in fields if not _has(document, field.split(".")))


def _has(value: object, path: list[str]) -> bool:
    if not path:
        return True
    if value is None:
        return True
    name, in_list = path[0].removesuffix("[]"), path[0].endswith("[]")
    if not isinstance(value, dict) or name not in value:
        return False
    inner = value[name]
    if in_list:
        return isinstance(inner, list) and all(_has(one, path[1:]) for one in inner)
    return _has(inner, path[1:])


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no number")
