"""Whether one model is better than another on the same utterances: a paired t-interval over speakers.

Never a bare threshold: the differences of each speaker (see `milo.training.statistics`) are compared, so that what is
hard about an utterance, or a speaker, cancels out. Reads rows; decodes nothing.
"""

from __future__ import annotations

from milo.errors import Invalid
from milo.storage.json_lines import Row
from milo.training.evaluations import INSUFFICIENT, Report
from milo.training.guard import Verdict
from milo.training.statistics import Units, interval, ratio, units_of

METRICS: dict[str, tuple[str, str]] = {
    "wer": ("errors", "ref_words"),
    "cer": ("char_errors", "ref_chars"),
    "chrf": ("chrf_loss", "one"),
}
"""Metric of a report -> the columns whose sums make it: what is counted against the model, and out of how much."""


def compare(
    before: Report,
    before_rows: dict[str, Row],
    after: Report,
    after_rows: dict[str, Row],
    metric: str | None = None,
) -> Row:
    """Compare two evaluations (report and rows by id): is `after` better than `before`? By the metric of the reports,
    or by `cer` where they have one.

    `difference` is the error rate of `after` minus that of `before` (a fraction; below zero is better), `interval` its
    95 % interval, `probability_of_improvement` by the same t; `detectable` the smallest
    difference that this test set finds with 90 % power.
    `verdict`: better, worse (the interval does not hold zero), no difference, or insufficient_data.
    Raises `Invalid` when data, task, normaliser or decode settings differ.
    """
    _check(before, after)
    pairs = [(before_rows[name], after_rows[name]) for name in before_rows if name in after_rows]
    metric = metric or str(before.get("metric", "wer"))
    errors, words = METRICS[metric]
    pairs = [(one, two) for one, two in pairs if one.get(words) and two.get(words)]
    told = {
        "before": _named(before, metric),
        "after": _named(after, metric),
        "metric": metric,
        "items": len(pairs),
        "unpaired": len(before_rows.keys() ^ after_rows.keys()),
    }
    units = units_of([one for one, _ in pairs])
    if units.too_few or INSUFFICIENT in (before.get("status"), after.get("status")):
        why = units.too_few or "one of the two evaluations had nothing to score"
        return told | {"verdict": INSUFFICIENT, "reason": f"{len(pairs)} utterances in common; {why}"}
    if any(one.get("ref_scored") != two.get("ref_scored") for one, two in pairs):
        raise Invalid("the two evaluations have different references for the same utterances", code="other_data")
    return told | _judged(pairs, errors, words, units)


def _judged(pairs: list[tuple[Row, Row]], errors: str, words: str, units: Units) -> Row:
    total = units.sums([one[words] for one, _ in pairs])
    found = ratio(units.sums([two[errors] - one[errors] for one, two in pairs]), total)
    low, high = found.bounds()
    return {
        "difference": found.value,
        "interval": interval(low, high, units),
        "probability_of_improvement": found.probability_below_zero(),
        "detectable": found.detectable(),
        "verdict": "better" if high < 0 else "worse" if low > 0 else "no difference",
    }


def against_margin(found: Row, margin: float) -> tuple[Verdict, str]:
    """Whether a comparison shows that `after` is no worse than `before` by more than `margin`, and a sentence.

    Non-inferiority: the upper end of the 95 % interval lies at the margin or below it. Otherwise `worse`, if the whole
    interval lies above zero; else `not shown`.
    """
    if "interval" not in found:
        return "insufficient_data", f"there is too little data for a verdict: {found.get('reason')}"
    low, high, units = found["interval"]["low"], found["interval"]["high"], found["interval"]
    what = "chrF" if found["metric"] == "chrf" else "errors"
    sign = -1 if found["metric"] == "chrf" else 1
    between = sorted((sign * low, sign * high))
    told = (
        f"{sign * found['difference']:+.1%} {what} (95 % interval {between[0]:+.1%} to {between[1]:+.1%},"
        f" {found['items']} items of {units['units']} {units['over']})"
    )
    if high <= margin:
        return "not worse", f"{told}, within the margin of {margin:.1%}"
    told += (
        f"; the margin is {margin:.1%}, and this set finds a difference of {found['detectable']:.1%} with 90 % power"
    )
    return "worse" if low > 0 else "not shown", told


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
    one, two = (side.get("decode") or {} for side in (before, after))
    unlike = [name for name in sorted({*one, *two} - {"device"}) if one.get(name) != two.get(name)]
    if unlike:
        told = ", ".join(f"{name} is {one.get(name)} and {two.get(name)}" for name in unlike)
        raise Invalid(
            f"the two evaluations can't be compared: they were decoded differently ({told}). Evaluate both alike first",
            code="not_comparable",
        )


def _named(report: Report, metric: str) -> Row:
    named = {"key": report.get("key"), "model": report.get("model", {}).get("label"), metric: report.get(metric)}
    return named | {name: report[name] for name in ("raw_wer",) if name in report}
