"""What beat asks for: evaluations that the systems lack, and looks where inputs changed or the period is over."""

from __future__ import annotations

import time

from milo.jobs import OPERATOR, Job, NewJob, State
from milo.kinds.training import EvaluationPayload, SystemPayload
from milo.ledger import Ledger, reports
from milo.monitoring.systems import BY_NAME, MONITORED, is_on, period_of
from milo.queue import wakeups
from milo.settings import Settings
from trainer.autonomy import watched
from trainer.autonomy.watched import Watched

ONLY_ROWS = {"deployment"}
"""Systems that read no evaluation."""


def queue_looks(settings: Settings, ledger: Ledger) -> int:
    """Returns how many jobs were queued."""
    on = [one.name for one in MONITORED if is_on(settings, one.name)]
    found = watched.watched(settings) if on else None
    if found is None:
        return 0
    queued = _queue_evaluations(settings, ledger, found) if set(on) - ONLY_ROWS else 0
    mark = watched.marker(settings, ledger.engine, found)
    waiting = {job.payload["system"] for job in (*_looks(ledger, "queued"), *_looks(ledger, "running"))}
    for name in on:
        last = reports.last(ledger.engine, name)
        fresh = last and last[0].inputs == mark and time.time() - last[0].at < period_of(settings, BY_NAME[name])
        if name not in waiting and not fresh:
            queue_look(ledger, name)
            queued += 1
    return queued


def queue_look(ledger: Ledger, name: str) -> Job:
    payload = SystemPayload(system=name, name=f"look: {name}")
    new = NewJob(kind="system", payload=payload.model_dump(mode="json"), owner=OPERATOR, priority="background")
    job = ledger.create(new)
    wakeups.submit(job)
    return job


def _looks(ledger: Ledger, state: State) -> list[Job]:
    return ledger.jobs(owner=OPERATOR, kind="system", state=state, limit=100)


def _queue_evaluations(settings: Settings, ledger: Ledger, found: Watched) -> int:
    """One evaluation of the suite's data, with losses, for each checkpoint and for what serves, once."""
    if not settings.evaluate_checkpoints:
        return 0
    wanted = [*found.checkpoints(), found.serving(settings)]
    known = watched.jobs_of(ledger.engine, [one.key for one in wanted])
    new = [one for one in wanted if one.key not in known]
    for one in new:
        payload = EvaluationPayload(
            model=one.model,
            data=found.recipe.data,
            task=found.recipe.task,
            evaluation=found.recipe.evaluation.model_copy(update={"loss": True}),
            name=f"{found.recipe.name} {one.name}",
        )
        job = NewJob(
            kind="evaluation",
            payload=payload.model_dump(mode="json"),
            owner=OPERATOR,
            priority="background",
            idempotency_key=one.key,
            fingerprint=one.key,
        )
        wakeups.submit(ledger.create(job))
    return len(new)
