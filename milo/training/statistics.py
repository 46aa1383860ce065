"""How sure an error rate is, and the difference of two: t-intervals over clusters (speakers, else utterances).

The errors of one speaker go together, so what is counted is speakers: the rate is a ratio of sums, its variance that of
the residuals of the clusters (Cochran, Sampling Techniques, 1977, chapter 6), and Student's t has one degree of freedom
less than there are clusters. A percentile bootstrap over few speakers is too sure of itself; `benchmarks/statistics.py`
simulates both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

import numpy as np
import numpy.typing as npt

from milo.storage.json_lines import Row
from milo.training.student import power, shift_found, t_cdf, t_quantile

LEVEL = 0.95
POWER = 0.9
"""Of the smallest difference that a comparison says it would have found."""
MIN_UNITS = 6
"""Fewer speakers (or utterances, where no speaker is named) give no interval and no verdict."""
Numbers = npt.NDArray[np.float64]
Over = Literal["speakers", "utterances"]


class Interval(TypedDict):
    """Of a rate, a fraction: between `low` and `high` at `level`; what was counted, and how many."""

    low: float
    high: float
    level: float
    over: Over
    units: int
    method: str


@dataclass(frozen=True)
class Units:
    """Clusters of rows: the index of each row's cluster, from 0."""

    over: Over
    index: npt.NDArray[np.intp]
    count: int

    @property
    def too_few(self) -> str:
        """Why nothing can be told; empty when there are enough."""
        if self.count >= MIN_UNITS:
            return ""
        more = " (columns.speaker: null counts utterances, and says nothing of other people)"
        return f"{self.count} {self.over}, {MIN_UNITS} are needed{more if self.over == 'speakers' else ''}"

    def sums(self, values: Sequence[float]) -> Numbers:
        """The sum of `values`, one a row, for each unit."""
        weights = np.asarray(values, np.float64)
        return np.bincount(self.index, weights=weights, minlength=self.count).astype(np.float64)


@dataclass(frozen=True)
class Ratio:
    """sum(above) / sum(below) over clusters, and its standard error."""

    value: float
    error: float
    df: int

    def bounds(self, level: float = LEVEL) -> tuple[float, float]:
        half = t_quantile((1 + level) / 2, self.df) * self.error
        return self.value - half, self.value + half

    def detectable(self, one_sided: float = (1 - LEVEL) / 2) -> float:
        """The smallest true difference that a test at this one-sided level finds with `POWER`."""
        return shift_found(POWER, self.df, one_sided) * self.error if self.error else 0.0

    def power(self, difference: float, one_sided: float = (1 - LEVEL) / 2) -> float:
        """Probability that a test at this one-sided level finds a true difference so far above zero."""
        if self.error == 0:
            return float(difference > 0)
        return power(difference / self.error, self.df, one_sided)

    def probability_below_zero(self) -> float:
        if self.error == 0:
            return 0.5 if self.value == 0 else float(self.value < 0)
        return t_cdf(-self.value / self.error, self.df)

    def p_value(self) -> float:
        """Two-sided: how often a value so far from zero comes about where the true one is zero."""
        return 2 * min(self.probability_below_zero(), 1 - self.probability_below_zero())

    def p_above(self) -> float:
        """One-sided: how often a value so far above zero comes about where the true one is zero."""
        return 1.0 if self.error == 0 and self.value <= 0 else self.probability_below_zero()


def units_of(rows: Sequence[Row]) -> Units:
    """Speakers where every row names one, else the rows themselves."""
    speakers = [row.get("speaker") for row in rows]
    if rows and all(speaker is not None for speaker in speakers):
        names, index = np.unique(np.array([str(speaker) for speaker in speakers]), return_inverse=True)
        return Units("speakers", index.reshape(-1), len(names))
    return Units("utterances", np.arange(len(rows)), len(rows))


def ratio(above: Numbers, below: Numbers) -> Ratio:
    """Of cluster sums, shape (clusters,) each; two clusters at least."""
    count, total = len(above), float(below.sum())
    value = float(above.sum()) / total
    residuals = above - value * below
    return Ratio(value, math.sqrt(count / (count - 1) * float((residuals**2).sum())) / total, count - 1)


def ratio_interval(rows: Sequence[Row], errors: str, words: str) -> Interval | None:
    """Interval of sum(`errors`) / sum(`words`), two columns of the rows. None below `MIN_UNITS`."""
    units = units_of(rows)
    if units.too_few:
        return None
    found = ratio(units.sums([row[errors] for row in rows]), units.sums([row[words] for row in rows]))
    low, high = found.bounds()
    return {**interval(low, high, units), "low": max(0.0, low)}


def interval(low: float, high: float, units: Units) -> Interval:
    return {
        "low": low,
        "high": high,
        "level": LEVEL,
        "over": units.over,
        "units": units.count,
        "method": "t over clusters",
    }
