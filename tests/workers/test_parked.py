"""Parked generators alone: who may resume one, and when it is closed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from milo.jobs import Job, NewJob, Progress
from milo.ledger import Ledger
from milo.settings import Settings
from milo.storage.files import Files
from workers.parked import ParkedGenerators
from workers.work import Finished, RunningJob, Steps


@pytest.fixture
def claim(settings: Settings, ledger: Ledger) -> Callable[..., RunningJob]:
    def claimed(job: Job, worker: str = "gpu/0") -> RunningJob:
        found = ledger.claim(job.id, worker)
        assert found
        return RunningJob(found, settings, ledger, Files(settings))

    return claimed


def new_job(ledger: Ledger) -> Job:
    return ledger.create(NewJob(kind="ping", payload={"seconds": 0}, owner="ana", priority="batch"))


def started(closed: list[str], name: str = "it") -> Steps:
    """A generator that stands at its first yield, and says when it is closed."""

    def steps() -> Steps:
        try:
            yield Progress()
        finally:
            closed.append(name)
        return Finished()

    generator = steps()
    next(generator)
    return generator


def test_the_next_claim_resumes_the_generator_and_the_job_that_it_knows(ledger: Ledger, claim: Callable) -> None:
    parked, steps, job = ParkedGenerators(ledger), started([]), new_job(ledger)
    first = claim(job)
    first.compute_s = 5.0
    parked.park(first, steps)
    ledger.release(first.claim)
    again = claim(job)
    assert parked.resume(again) == (first, steps)
    assert first.claim == again.claim and first.compute_s == 0 and job.id not in parked


def test_a_job_that_another_worker_has_had_begins_anew(ledger: Ledger, claim: Callable) -> None:
    parked, job = ParkedGenerators(ledger), new_job(ledger)
    first = claim(job)
    parked.park(first, started([]))
    ledger.release(first.claim)
    ledger.release(claim(job, "gpu/1").claim)
    assert parked.resume(claim(job)) is None


def test_the_generator_that_was_parked_first_makes_room(ledger: Ledger, claim: Callable) -> None:
    closed: list[str] = []
    parked, jobs = ParkedGenerators(ledger, most=2), [new_job(ledger) for _ in range(3)]
    for job in jobs:
        parked.park(claim(job), started(closed, job.id))
    assert closed == [jobs[0].id] and [job.id in parked for job in jobs] == [False, True, True]


@pytest.mark.parametrize("how", ["cancelled", "claimed elsewhere and again", "waits", "claimed by the next"])
def test_stale_generators_are_closed_and_those_that_may_go_on_are_kept(
    ledger: Ledger, claim: Callable, how: str
) -> None:
    closed: list[str] = []
    parked, job = ParkedGenerators(ledger), new_job(ledger)
    first = claim(job)
    parked.park(first, started(closed))
    ledger.release(first.claim)
    if how == "cancelled":
        ledger.cancel(job.id)
    elif how == "claimed elsewhere and again":
        ledger.release(claim(job, "gpu/1").claim)
        claim(job, "gpu/1")
    elif how == "claimed by the next":
        claim(job)
    parked.drop_stale()
    assert bool(closed) == (how in ("cancelled", "claimed elsewhere and again")) == (job.id not in parked)
