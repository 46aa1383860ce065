"""Whether the confidences of the newest checkpoint are true, and the temperature that would make them so.

Judged on *watch*; the temperature, by which the log-odds of a confidence are divided, is fitted on *calibrate* alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from milo.storage.json_lines import Row
from milo.training.calibration import Bin, calibration
from milo.training.statistics import Numbers, Units
from trainer.autonomy.word_confidence import words_of
from trainer.autonomy.world import Found, World, insufficient

WELL = 0.05
"""Well calibrated: the upper end of the interval of the error is at most this."""
CONFIDENCE = "exp of the mean log-probability of the utterance's tokens, for each of its words"
COLDEST, HOTTEST = 0.05, 20.0
"""Temperatures that are tried. One at an end of them is none that fits."""
SNR_DB = ((-math.inf, 10.0), (10.0, 20.0), (20.0, math.inf))
NOTHING: Row = {
    "bins": [],
    "ece": None,
    "well_calibrated": False,
    "confidence": CONFIDENCE,
    "ece_interval": None,
    "ece_after": None,
    "nce": None,
    "temperature": None,
    "slices": [],
}


def check(world: World) -> Found:
    if not world.checkpoints:
        return insufficient("no checkpoint of this run is evaluated yet", NOTHING)
    current = world.checkpoints[-1]
    rows = world.rows(current, "watch")
    said, right, units = words_of(rows)
    if not said or units.too_few:
        return insufficient(units.too_few if said else "nothing was written", NOTHING, current.name)
    found = calibration(said, right, units)
    assert found.interval is not None
    temperature = _temperature(world, current.name)
    fields = NOTHING | {
        "bins": [_bin(one) for one in found.bins],
        "ece": found.ece,
        "well_calibrated": found.interval["high"] <= WELL,
        "ece_interval": found.interval,
        "nce": normalised_cross_entropy(said, right),
        "temperature": temperature,
        "slices": _slices(rows),
    }
    if temperature is not None:
        fields["ece_after"] = calibration(cooled(said, temperature).tolist(), right, units).ece
    told = f"calibration error {found.ece:.3f}, at most {found.interval['high']:.3f}"
    if temperature is None:
        told += f"; no temperature: {world.suite.why_empty.get('calibrate') or 'none fits the words of calibrate'}"
    return Found("ok", told, fields, current.name)


def _bin(one: Bin) -> Row:
    return {"range": one.range, "accuracy": one.accuracy, "count": one.count, "confidence": one.confidence}


def _temperature(world: World, name: str) -> float | None:
    current = next(one for one in world.checkpoints if one.name == name)
    said, right, units = words_of(world.rows(current, "calibrate"))
    if units.too_few or len(set(right)) < 2:
        return None
    found = fitted(said, right)
    return found if 1.01 * COLDEST < found < 0.99 * HOTTEST else None


def fitted(said: Sequence[float], right: Sequence[bool]) -> float:
    """The temperature with the lowest cross-entropy, by golden section of its logarithm."""
    true = np.asarray(right, np.float64)
    ratio = (math.sqrt(5) - 1) / 2
    low, high = math.log(COLDEST), math.log(HOTTEST)
    for _ in range(60):
        one, other = high - ratio * (high - low), low + ratio * (high - low)
        if _cross_entropy(cooled(said, math.exp(one)), true) < _cross_entropy(cooled(said, math.exp(other)), true):
            high = other
        else:
            low = one
    return math.exp((low + high) / 2)


def cooled(said: Sequence[float], temperature: float) -> Numbers:
    """Confidences with their log-odds divided by the temperature."""
    clipped = np.clip(np.asarray(said, np.float64), 1e-6, 1 - 1e-6)
    cool: Numbers = 1 / (1 + np.exp(-np.log(clipped / (1 - clipped)) / temperature))
    return cool


def normalised_cross_entropy(said: Sequence[float], right: Sequence[bool]) -> float | None:
    """How much of the uncertainty about what is right a confidence takes away: 1 all, 0 none, below 0 it misleads."""
    true = np.asarray(right, np.float64)
    share = float(true.mean())
    if share in (0.0, 1.0):
        return None
    least = -(share * math.log(share) + (1 - share) * math.log(1 - share))
    return 1 - _cross_entropy(np.asarray(said, np.float64), true) / least


def _cross_entropy(said: Numbers, true: Numbers) -> float:
    said = np.clip(said, 1e-6, 1 - 1e-6)
    return float(-(true * np.log(said) + (1 - true) * np.log(1 - said)).mean())


def _slices(rows: Mapping[str, Row]) -> list[Row]:
    """The same by the noise of the recordings."""
    found = []
    for low, high in SNR_DB:
        part = {
            name: row for name, row in rows.items() if row.get("snr_db") is not None and low <= row["snr_db"] < high
        }
        said, right, units = words_of(part)
        if said:
            told = calibration(said, right, Units(units.over, units.index, units.count))
            found.append({"slice": _name(low, high), "words": len(said), "ece": told.ece, "interval": told.interval})
    return found


def _name(low: float, high: float) -> str:
    if math.isinf(low):
        return f"SNR below {high:g} dB"
    return f"SNR from {low:g} dB" if math.isinf(high) else f"SNR {low:g} to {high:g} dB"
