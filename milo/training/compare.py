"""Whether one model is better than another on the same utterances: a paired bootstrap, never a bare threshold.

Bisani & Ney 2004 (see `milo.training.bootstrap`): both models' errors on the same draw are compared, so that what is
hard about an utterance, or a speaker, cancels out. Reads rows; decodes nothing.
"""

from __future__ import annotations

import numpy as np

from milo.errors import Invalid
from milo.storage.json_lines import Row
from milo.training.bootstrap import LEVEL, RESAMPLES, SEED, draws, units_of
from milo.training.evaluations import INSUFFICIENT, Report

MIN_ITEMS = 5
"""Fewer utterances than these say nothing: the verdict is `insufficient_data`."""
METRICS: dict[str, tuple[str, str]] = {"wer": ("errors", "ref_words"), "chrf": ("chrf_loss", "one")}
"""Metric of a report -> the columns whose sums make it: what is counted against the model, and out of how much."""


def compare(
    before: Report,
    before_rows: dict[str, Row],
    after: Report,
    after_rows: dict[str, Row],
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Row:
    """Compare two evaluations (report and rows by id): is `after` better than `before`?

    `difference` is the error rate of `after` minus that of `before` (a fraction; below zero is better), `interval` its
    95 % interval, `probability_of_improvement` the share of draws in which `after` made fewer errors (ties count half).
    `verdict`: better, worse (the interval does not hold zero), no difference, or insufficient_data.
    Raises `Invalid` when data, task or normaliser differ.
    """
    _check(before, after)
    pairs = [(before_rows[name], after_rows[name]) for name in before_rows if name in after_rows]
    errors, words = METRICS[str(before.get("metric", "wer"))]
    pairs = [(one, two) for one, two in pairs if one.get(words) and two.get(words)]
    told = {
        "before": _named(before),
        "after": _named(after),
        "metric": before.get("metric", "wer"),
        "items": len(pairs),
        "unpaired": len(before_rows.keys() ^ after_rows.keys()),
    }
    if len(pairs) < MIN_ITEMS or INSUFFICIENT in (before.get("status"), after.get("status")):
        return told | {"verdict": INSUFFICIENT, "reason": f"{len(pairs)} utterances in common, {MIN_ITEMS} are needed"}
    if any(one.get("ref_scored") != two.get("ref_scored") for one, two in pairs):
        raise Invalid("the two evaluations have different references for the same utterances", code="other_data")
    return told | _bootstrap(pairs, errors, words, resamples, seed)


def _bootstrap(pairs: list[tuple[Row, Row]], errors: str, words: str, resamples: int, seed: int) -> Row:
    units = units_of([one for one, _ in pairs])
    total = units.sums([one[words] for one, _ in pairs])
    more = units.sums([two[errors] - one[errors] for one, two in pairs])
    drawn = np.concatenate([more[d].sum(1) / total[d].sum(1) for d in draws(units.count, resamples, seed)])
    low, high = (float(value) for value in np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    return {
        "difference": float(more.sum() / total.sum()),
        "interval": {"low": low, "high": high, "level": LEVEL, "over": units.over, "units": units.count},
        "probability_of_improvement": float((drawn < 0).mean() + (drawn == 0).mean() / 2),
        "verdict": "better" if high < 0 else "worse" if low > 0 else "no difference",
        "resamples": resamples,
        "seed": seed,
    }


def _check(before: Report, after: Report) -> None:
    places = {
        "data": ("data", "sha256"),
        "task": ("task", None),
        "normaliser of texts": ("normaliser", None),
        "metric": ("metric", None),
    }
    for what, (field, part) in places.items():
        one, two = (side.get(field) for side in (before, after))
        if part:
            one, two = ((side or {}).get(part) for side in (one, two))
        if one != two:
            raise Invalid(
                f"the two evaluations can't be compared: their {what} differ ({str(one)[:16]} and {str(two)[:16]})."
                " Evaluate both models on the same data first",
                code="not_comparable",
            )


def _named(report: Report) -> Row:
    metric = str(report.get("metric", "wer"))
    return {"key": report.get("key"), "model": report.get("model", {}).get("label"), metric: report.get(metric)}
