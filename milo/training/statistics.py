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

    def bounds(self) -> tuple[float, float]:
        half = t_quantile((1 + LEVEL) / 2, self.df) * self.error
        return self.value - half, self.value + half

    def detectable(self) -> float:
        """The smallest true difference that such a test finds with `POWER`."""
        return (t_quantile((1 + LEVEL) / 2, self.df) + t_quantile(POWER, self.df)) * self.error

    def probability_below_zero(self) -> float:
        if self.error == 0:
            return 0.5 if self.value == 0 else float(self.value < 0)
        return t_cdf(-self.value / self.error, self.df)


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


# --- Student's t, for want of scipy -----------------------------------------------------------------------------------


def t_cdf(t: float, df: int) -> float:
    """P(T <= t)."""
    tail = _beta(df / (df + t * t), df / 2, 0.5) / 2
    return 1 - tail if t > 0 else tail


def t_quantile(p: float, df: int) -> float:
    """The t with P(T <= t) = p, by bisection."""
    low, high = -1e4, 1e4
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if t_cdf(middle, df) < p else (low, middle)
    return (low + high) / 2


def _beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function, by Lentz's continued fraction (https://dlmf.nist.gov/8.17#v)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta(1 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    tiny, c = 1e-300, 1.0
    d = 1 / ((1 - (a + b) * x / (a + 1)) or tiny)
    found = d
    for m in range(1, 1000):
        for part in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d, c = 1 / ((1 + part * d) or tiny), (1 + part / c) or tiny
            found *= c * d
        if abs(c * d - 1) < 1e-14:
            break
    return front * found
