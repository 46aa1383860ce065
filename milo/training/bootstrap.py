"""Bootstrap over speakers or utterances: how sure a word error rate is, and the difference of two.

Bisani & Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation", ICASSP 2004: whole units
(all that one speaker said, where speakers are known, because their errors go together) are drawn with replacement; the
rate is the sum of errors over the sum of reference words of what was drawn. Seeded: the same rows, the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

import numpy as np
import numpy.typing as npt

from milo.storage.json_lines import Row

RESAMPLES = 10_000
LEVEL = 0.95
SEED = 20
CELLS = 2_000_000
"""Most numbers in memory at once."""
Numbers = npt.NDArray[np.float64]


class Interval(TypedDict):
    """Of a rate, a fraction: between `low` and `high` at `level`; what was drawn, and how often."""

    low: float
    high: float
    level: float
    over: Literal["speakers", "utterances"]
    units: int
    resamples: int
    seed: int


@dataclass(frozen=True)
class Units:
    """What is drawn: the index of each row's unit, from 0."""

    over: Literal["speakers", "utterances"]
    index: npt.NDArray[np.intp]
    count: int

    def sums(self, values: Sequence[float]) -> Numbers:
        """The sum of `values`, one a row, for each unit."""
        weights = np.asarray(values, np.float64)
        return np.bincount(self.index, weights=weights, minlength=self.count).astype(np.float64)


def units_of(rows: Sequence[Row]) -> Units:
    """Speakers where every row names one and there are two at least, else the rows themselves."""
    speakers = [row.get("speaker") for row in rows]
    if all(speaker is not None for speaker in speakers) and len(set(speakers)) > 1:
        names, index = np.unique(np.array([str(speaker) for speaker in speakers]), return_inverse=True)
        return Units("speakers", index.reshape(-1), len(names))
    return Units("utterances", np.arange(len(rows)), len(rows))


def draws(units: int, resamples: int, seed: int) -> Iterator[npt.NDArray[np.intp]]:
    """Indices of drawn units, in blocks of shape (some resamples, units)."""
    rng = np.random.default_rng(seed)
    block = max(1, CELLS // max(1, units))
    for start in range(0, resamples, block):
        yield rng.integers(0, units, size=(min(block, resamples - start), units))


def ratio_interval(
    rows: Sequence[Row], errors: str, words: str, resamples: int = RESAMPLES, seed: int = SEED
) -> Interval:
    """Interval of sum(`errors`) / sum(`words`), two columns of the rows."""
    units = units_of(rows)
    above = units.sums([row[errors] for row in rows])
    below = units.sums([row[words] for row in rows])
    rates = np.concatenate([above[d].sum(1) / below[d].sum(1) for d in draws(units.count, resamples, seed)])
    low, high = np.quantile(rates, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {
        "low": float(low),
        "high": float(high),
        "level": LEVEL,
        "over": units.over,
        "units": units.count,
        "resamples": resamples,
        "seed": seed,
    }
