"""Keys that share one priority, through the runner, on each database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import insert

from milo.jobs import NewJob, Progress
from milo.ledger import Ledger
from milo.ledger.database import writing
from milo.ledger.schema import jobs
from milo.settings import Settings
from milo.storage.files import Files
from workers.group import Group
from workers.runner import Runner
from workers.work import Finished, RunningJob

MANY, FEW = 300, 5


@pytest.fixture
def ledger(each_database: Settings) -> Iterator[Ledger]:
    opened = Ledger.open(each_database)
    yield opened
    opened.engine.dispose()


@pytest.fixture
def runner(each_database: Settings, redis_url: str, ledger: Ledger) -> Runner:
    settings = each_database.model_copy(update={"redis_url": redis_url})
    return Runner(settings, ledger, Files(settings), "gpu/0")


def queue_of(ledger: Ledger, owner: str, count: int, priority: str) -> list[str]:
    """Queue so many jobs of an owner; their ids, the oldest first."""
    new = NewJob(kind="ping", payload={"seconds": 0}, owner=owner, priority=priority)
    first = ledger.clock()
    rows = [ledger._row(new) | {"published_at": first + number * 1e-6} for number in range(count)]
    with writing(ledger.engine) as tx:
        tx.execute(insert(jobs), rows)
    return [row["id"] for row in rows]


@pytest.mark.parametrize("priority", ["realtime", "batch"])
def test_five_jobs_end_early_although_three_hundred_of_another_key_came_first(
    runner: Runner, ledger: Ledger, runs: Any, priority: str
) -> None:
    order: list[str] = []

    def run(running: RunningJob) -> Iterator[Progress]:
        order.append(running.id)
        yield Progress()
        return Finished({})

    runs(run)
    many, few = (queue_of(ledger, owner, n, priority) for owner, n in (("ana", MANY), ("bema", FEW)))
    messages = many + few
    while not all(ledger.get(one).final for one in few):
        assert runner.run(messages.pop(0), f"gpu.{priority}") == "done"
    assert len(order) <= 12
    assert order[::2] == many[: len(order[::2])]


def test_batches_are_shared_and_their_spare_messages_are_dropped(runner: Runner, ledger: Ledger, runs: Any) -> None:
    order: list[str] = []

    def run(group: Group) -> Iterator[None]:
        group.more(7)
        for running in list(group.jobs.values()):
            order.append(running.job.owner)
            group.finish(running, Finished({}))
        yield

    runs(run, grouped=True)
    messages = queue_of(ledger, "ana", 30, "batch") + queue_of(ledger, "bema", FEW, "batch")
    words = [runner.run(message, "gpu.batch") for message in messages]
    assert order[:12].count("bema") == FEW and len(order) == 35
    assert words.count("done") == 5 and len(messages) - words.count("nothing to do") == 5
    late = queue_of(ledger, "ana", 1, "batch")[0]
    assert runner.run(late, "gpu.batch") == "done", "a message whose job waits is never dropped"


def test_without_a_queue_it_is_the_named_job_and_no_other(runner: Runner, ledger: Ledger, runs: Any) -> None:
    def run(running: RunningJob) -> Iterator[Progress]:
        yield Progress()
        return Finished({})

    runs(run)
    first, second = queue_of(ledger, "ana", 2, "batch")
    assert runner.run(second) == "done" and runner.run(second) == "nothing to do"
    assert ledger.get(first).state == "queued"
