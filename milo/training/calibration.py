"""Whether confidences are true: of the words that are said to be right with 80 %, are 80 % right?

The expected calibration error (ECE) is the mean distance between what was said and what came true, over bins of what
was said. As it is always computed, it is above zero for a perfect model, the more so the fewer words there are: each
bin's distance counts as positive, also where it is chance. `Calibration.interval` is that of an estimate without this
bias: a speaker's words count by the sign that the other speakers' words give the bin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from milo.training.statistics import Interval, Numbers, Units, interval, ratio

EDGES = (0.0, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0)


@dataclass(frozen=True)
class Bin:
    """Words by what was said of them; the last bin holds 1.0."""

    range: str
    count: int
    accuracy: float | None
    """None: nothing is in it."""
    confidence: float | None
    """The mean of what was said."""


@dataclass(frozen=True)
class Calibration:
    """Of confidences against what was right."""

    bins: list[Bin]
    ece: float
    interval: Interval | None
    """None below `MIN_UNITS` speakers."""


def calibration(confidence: Sequence[float], right: Sequence[bool], units: Units) -> Calibration:
    """`confidence` and `right`, one a word; `units` has the clusters of the same words. One word at least."""
    said, true = np.asarray(confidence, np.float64), np.asarray(right, np.float64)
    index = bin_of(said)
    counts = np.bincount(index, minlength=len(EDGES) - 1)
    excess = np.bincount(index, said - true, minlength=len(EDGES) - 1)
    return Calibration(
        [_bin(at, said[index == at], true[index == at]) for at in range(len(EDGES) - 1)],
        float(np.abs(excess).sum() / counts.sum()),
        None if units.too_few else _interval(said - true, index, units),
    )


def bin_of(confidence: Numbers) -> npt.NDArray[np.intp]:
    return np.clip(np.digitize(confidence, EDGES) - 1, 0, len(EDGES) - 2)


def _bin(at: int, said: Numbers, true: Numbers) -> Bin:
    means = [float(values.mean()) if len(values) else None for values in (true, said)]
    return Bin(f"{EDGES[at]}-{EDGES[at + 1]}", len(said), *means)


def _interval(excess: Numbers, index: npt.NDArray[np.intp], units: Units) -> Interval:
    cells = np.zeros((units.count, len(EDGES) - 1))
    np.add.at(cells, (units.index, index), excess)
    words = units.sums(np.ones(len(excess)).tolist())
    low, _ = ratio((cells * np.sign(cells.sum(0) - cells)).sum(1), words).bounds()
    _, high = ratio((cells * np.sign(cells.sum(0))).sum(1), words).bounds()
    found = interval(low, high, units)
    return {**found, "low": max(0.0, low), "high": max(0.0, high)}
