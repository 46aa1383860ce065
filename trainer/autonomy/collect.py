"""Collects a world: the newest training for speech, its suite, and the evaluations of its checkpoints."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine

from milo.ledger import reports
from milo.settings import Settings
from milo.storage.json_lines import Row
from milo.training import evaluations
from milo.training.evaluations import Stored
from trainer.autonomy.suite import suite_of
from trainer.autonomy.watched import Wanted, Watched, deploys, jobs_of, marker
from trainer.autonomy.world import Judged, World
from trainer.data.load import ReportProgress

LATEST = 500
"""Evaluations among which those of checkpoints are looked for that somebody else had made."""


def collect(
    settings: Settings, engine: Engine, system: str, found: Watched, report: ReportProgress | None = None
) -> World:
    """Everything that a system may look at. Makes the suite where there is none: then it reads audio."""
    mark = marker(settings, engine, found)
    suite = suite_of(settings, found.recipe, report)
    wanted, serving = found.checkpoints(), found.serving(settings)
    made = jobs_of(engine, [one.key for one in (*wanted, serving)])
    by_path = _by_path(settings, suite.data_sha256)
    states = {one.name: _evaluated(settings, one, made, by_path) for one in (*wanted, serving)}
    judged = [state for one in wanted if isinstance(state := states[one.name], Judged)]
    newest = [one.name for one in wanted if not isinstance(states[one.name], Judged)]
    last = wanted.index(next(one for one in wanted if one.name == judged[-1].name)) if judged else -1
    broken = {one.name: states[one.name] for one in wanted[last + 1 :] if isinstance(states[one.name], str)}
    of_serving = states[serving.name]
    before = reports.last(engine, system)
    return World(
        settings,
        found.recipe,
        found.run.id,
        suite,
        judged,
        of_serving if isinstance(of_serving, Judged) else None,
        [name for name in newest if states[name] is None],
        {name: str(why) for name, why in broken.items()},
        deploys(engine),
        before[-1].document if before else {},
        mark,
    )


def _evaluated(
    settings: Settings, one: Wanted, made: dict[str, Row], by_path: dict[str, Stored]
) -> Judged | str | None:
    """Its evaluation; why it can't be evaluated; None: it is not over, or nobody has asked."""
    job = made.get(one.key)
    if job and job["state"] == "failed":
        return str((job["error"] or {}).get("detail") or "its evaluation failed")
    key = (job["result"] or {}).get("key") if job and job["state"] == "succeeded" else None
    stored = Stored(evaluations.root(settings) / key) if key else by_path.get(one.model)
    report = stored.report() if stored else None
    if stored is None or report is None or (job is None and report.get("loss") is None):
        return None
    if report.get("status") != "ok":
        return str(report.get("reason") or "there was nothing to score")
    return Judged(one.name, report, stored.rows())


def _by_path(settings: Settings, data_sha256: str) -> dict[str, Stored]:
    """Evaluations of this data by what they were made of."""
    found: dict[str, Stored] = {}
    for stored in evaluations.all_finished(settings)[:LATEST]:
        report = stored.report() or {}
        if (report.get("data") or {}).get("sha256") == data_sha256:
            found.setdefault(str(Path((report.get("model") or {}).get("path") or "")), stored)
    return found
