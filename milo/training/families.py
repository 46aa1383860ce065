"""Many tests at once: p-values adjusted so that a whole family of them keeps its promise."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted so that of a family one false alarm or more comes with a probability of at most the level, whatever
    the tests have to do with each other (Holm, Scandinavian Journal of Statistics, 1979)."""
    order = sorted(range(len(p_values)), key=lambda at: p_values[at])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, at in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[at]))
        adjusted[at] = highest
    return adjusted


def false_discovery_rate(p_values: Sequence[float]) -> list[float]:
    """Adjusted so that of all that is found, the expected share of false alarms is at most the level (Benjamini and
    Hochberg, Journal of the Royal Statistical Society B, 1995); for tests that are independent or go together."""
    order = sorted(range(len(p_values)), key=lambda at: p_values[at], reverse=True)
    adjusted, lowest = [0.0] * len(p_values), 1.0
    for rank, at in enumerate(order):
        lowest = min(lowest, p_values[at] * len(p_values) / (len(p_values) - rank))
        adjusted[at] = lowest
    return adjusted
