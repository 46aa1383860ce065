"""The first gate of a deploy: not worse than what serves, on its own data and on each guard set of its name.

    its own data    not `worse`, and no worse than the margin: the upper end of the 95 % interval lies below it
    a guard set     no worse than the margin
    too little data for an interval: refused, on either; what can't be told is not let through

Evaluations that were made before are read, not made again.
"""

from __future__ import annotations

import logging
from collections.abc import Generator

from milo.errors import EngineError, Invalid, ModelUnavailable
from milo.jobs import Progress
from milo.models import registry
from milo.recipes import TASKS, Data, Evaluation
from milo.settings import Settings
from milo.training import evaluations, guard
from milo.training.compare import against_margin, compare
from milo.training.guard import GuardSet, Judged
from trainer.deploy.smoke import Candidate, Refused
from trainer.evaluation.engines import Engines
from trainer.evaluation.evaluate import evaluate
from trainer.evaluation.plan import Document

log = logging.getLogger(__name__)
Compared = Generator[Progress, None, Document]
NOT_COMPARED = "not compared"


def margin_of(settings: Settings, candidate: Candidate) -> float:
    return settings.deploy_margin if candidate.margin is None else candidate.margin


def compare_with_serving(settings: Settings, candidate: Candidate, engines: Engines) -> Compared:
    """Compare the candidate with what serves under its name, on its own data. Raises `Refused`."""
    data = candidate.data
    if data is None or TASKS[candidate.task].no_error_rate or not registry.serving(settings, candidate.name):
        return {"verdict": NOT_COMPARED, "reason": _why_not(settings, candidate)}
    try:
        comparison = yield from _compared(settings, candidate, data, candidate.evaluation, engines)
    except ModelUnavailable as error:
        return {"verdict": NOT_COMPARED, "reason": f"what serves can't be loaded: {error.detail}"}
    check_verdict(comparison, candidate.name, margin_of(settings, candidate))
    return comparison


def compare_on_guard(settings: Settings, candidate: Candidate, engines: Engines, comparison: Document) -> Compared:
    """The same on every guard set of its name, unless it could not be compared at all.

    Returns `{verdict, margin, sets: [{name, verdict, …}]}`. Raises `Refused` naming the sets that it fails on.
    """
    sets = guard.read(settings, candidate.name).sets
    if why := _why_unguarded(candidate, comparison, sets):
        log.warning("%s is deployed unguarded: %s", candidate.name, why)
        return {"verdict": "not guarded", "reason": why, "sets": []}
    margin, found, failures = margin_of(settings, candidate), [], []
    for one in sets:
        if one.task != candidate.task or (candidate.data and one.is_of(candidate.task, candidate.data)):
            continue  # that comparison is made already
        there = yield from _compared_on_set(settings, candidate, one, engines)
        verdict, reason = against_margin(there, margin)
        found.append({"name": one.name, **there, "verdict": verdict, "reason": reason})
        if verdict != "not worse":
            failures.append(f"on the guard set {one.name}: {reason}")
    document = {"verdict": "refused" if failures else "not worse", "margin": margin, "sets": found}
    if failures:
        detail = f"it may have forgotten what {candidate.name} is good at; {'; '.join(failures)}"
        raise Refused(f"{detail}. Old data in the training helps (`training.replay`)", found={"guard": document})
    return document


def _compared_on_set(settings: Settings, candidate: Candidate, one: GuardSet, engines: Engines) -> Compared:
    try:
        found = yield from _compared(settings, candidate, one.data, one.evaluation, engines)
    except Invalid as error:
        raise Refused(
            f"the guard set {one.name} of {candidate.name} can't be read: {error.detail}. Bring its data back, or take"
            f" it out: `milo models guard {candidate.name} --forget {one.name}`",
            code="bad_guard",
        ) from error
    now = (evaluations.find(settings, found["after"]["key"]).report() or {}).get("data", {}).get("sha256")
    if one.sha256 not in (None, now):
        log.warning("the data of the guard set %s of %s has changed since it was added", one.name, candidate.name)
        found["changed"] = True
    return found


def _compared(
    settings: Settings, candidate: Candidate, data: Data, evaluation: Evaluation, engines: Engines
) -> Compared:
    """What serves, and the candidate, on the same data. `ModelUnavailable` is about what serves."""
    reports = []
    for model in (candidate.name, str(candidate.folder)):
        try:
            report = yield from evaluate(settings, model, data, evaluation, task=candidate.task, engines=engines)
        except ModelUnavailable as error:
            if model == candidate.name:
                raise
            raise Refused(f"it can't be evaluated: {error.detail}") from error
        except EngineError as error:
            if error.retryable or model == candidate.name:
                raise
            raise Refused(error.detail, code=error.code) from error
        reports.append(report)
    rows = [evaluations.find(settings, report["key"]).rows() for report in reports]
    return compare(reports[0], rows[0], reports[1], rows[1])


def check_verdict(comparison: Document, name: str, margin: float) -> None:
    """Raises `Refused` unless the comparison says better, or no difference that could be above the margin."""
    if comparison["verdict"] == evaluations.INSUFFICIENT:
        raise Refused(f"there is too little data to tell whether it is worse than {name}: {comparison['reason']}")
    verdict, reason = against_margin(comparison, margin)
    if comparison["verdict"] == "worse":
        raise Refused(f"it is worse than what {name} serves: {reason}")
    if verdict != "not worse":
        raise Refused(f"it is not shown to be as good as what {name} serves: {reason}", code="not_shown")


def grow(settings: Settings, candidate: Candidate, version: str, comparison: Document, found: Document) -> str:
    """After a deploy: keep what the guard sets said, and add the data that it was judged on, under the name returned.

    Nothing is added that could give no verdict, nor data that is there already.
    """
    kept = guard.read(settings, candidate.name).sets
    verdicts = {one["name"]: _judged(one, version, found["margin"]) for one in found["sets"]}
    sets = tuple(one.model_copy(update={"last": verdicts.get(one.name, one.last)}) for one in kept)
    new = _new_set(settings, candidate, version, comparison, sets)
    if new or verdicts:
        guard.put(settings, candidate.name, (*sets, new) if new else sets)
    return new.name if new else ""


def _judged(one: Document, version: str, margin: float) -> Judged:
    return Judged(
        version=version,
        verdict=one["verdict"],
        difference=round(one["difference"], 6),
        upper=round(one["interval"]["high"], 6),
        margin=margin,
    )


def _new_set(
    settings: Settings, candidate: Candidate, version: str, comparison: Document, sets: tuple[GuardSet, ...]
) -> GuardSet | None:
    data = candidate.data
    if data is None or "interval" not in comparison or any(one.is_of(candidate.task, data) for one in sets):
        return None
    report = evaluations.find(settings, comparison["after"]["key"]).report() or {}
    return GuardSet(
        name=guard.free_name(sets, candidate.called or data.source.rstrip("/").rpartition("/")[2]),
        task=candidate.task,
        data=data,
        evaluation=candidate.evaluation,
        sha256=report.get("data", {}).get("sha256"),
        added_by=version,
    )


def _why_unguarded(candidate: Candidate, comparison: Document, sets: tuple[GuardSet, ...]) -> str:
    if comparison["verdict"] == NOT_COMPARED:
        return str(comparison["reason"])
    if not any(one.task == candidate.task for one in sets):
        return f"{candidate.name} has no guard set yet; it was compared on its own data alone"
    return ""


def _why_not(settings: Settings, candidate: Candidate) -> str:
    if not registry.serving(settings, candidate.name):
        return f"nothing serves under the name {candidate.name} yet"
    return TASKS[candidate.task].no_error_rate or "no data to judge it on was named"
