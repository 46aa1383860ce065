"""Sums over rows of evaluations that several systems need, and the paired difference of two models."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from milo.storage.json_lines import Row
from milo.training.statistics import Ratio, Units, ratio, units_of


def rate(rows: Mapping[str, Row], errors: str = "errors", words: str = "ref_words") -> float | None:
    total = sum(row[words] for row in rows.values())
    return sum(row[errors] for row in rows.values()) / total if total else None


def loss(rows: Mapping[str, Row]) -> float | None:
    """Cross-entropy in nats a token; None where it was not measured. May be NaN or infinite, as it was measured."""
    if not rows or any(row.get("cross_entropy") is None for row in rows.values()):
        return None
    return float(sum(row["cross_entropy"] for row in rows.values()) / sum(row["tokens"] for row in rows.values()))


def units_in(rows: Mapping[str, Row], names: Sequence[str]) -> Units:
    return units_of([rows[name] for name in names])


def difference(before: Mapping[str, Row], after: Mapping[str, Row]) -> tuple[Ratio | None, str]:
    """The error rate of `after` minus that of `before` on the utterances of both; None with the reason for too few."""
    names = sorted(before.keys() & after.keys())
    units = units_in(before, names)
    if units.too_few:
        return None, units.too_few
    words = units.sums([before[name]["ref_words"] for name in names])
    return ratio(units.sums([after[name]["errors"] - before[name]["errors"] for name in names]), words), ""


def detectable(found: Ratio | None, level: float) -> float | None:
    """The smallest difference that this comparison would have found; None where all clusters agree, which tells
    nothing of how much they vary."""
    return found.detectable(level) if found is not None and found.error else None


def is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
