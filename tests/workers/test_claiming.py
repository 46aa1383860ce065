"""Turns, spare messages and the floor, each alone: a real ledger and a real Redis, no work."""

from __future__ import annotations

import pytest
import redis

from milo.jobs import Job, NewJob
from milo.ledger import Ledger
from milo.settings import Settings
from milo.storage.files import Files
from workers.claiming import Claimer, Floor


@pytest.fixture
def claimer(settings: Settings, ledger: Ledger) -> Claimer:
    return Claimer(settings, ledger, Files(settings), "gpu/0")


def new_job(ledger: Ledger, owner: str = "ana") -> Job:
    return ledger.create(NewJob(kind="ping", payload={"seconds": 0}, owner=owner, priority="batch"))


def test_owners_take_turns_whatever_the_messages_name(claimer: Claimer, ledger: Ledger) -> None:
    ana = [new_job(ledger) for _ in range(3)]
    bema = new_job(ledger, "bema")
    claimed = [claimer.claim(job.id, "gpu.batch") for job in ana]
    assert [running and running.job.owner for running in claimed] == ["ana", "bema", "ana"]
    assert claimed[1] and claimed[1].id == bema.id


def test_without_a_queue_the_named_job_is_claimed_and_no_other(claimer: Claimer, ledger: Ledger) -> None:
    first, second = new_job(ledger), new_job(ledger)
    running = claimer.claim(second.id, None)
    assert running and running.id == second.id and claimer.claim(second.id, None) is None
    assert ledger.get(first.id).state == "queued"


def test_as_many_messages_are_dropped_as_jobs_were_taken_beside_another(claimer: Claimer, ledger: Ledger) -> None:
    jobs = [new_job(ledger) for _ in range(3)]
    first = claimer.claim(jobs[0].id, "gpu.batch")
    assert first and {one.id for one in claimer.claim_like(first.job, 2)} == {job.id for job in jobs[1:]}
    other = new_job(ledger)
    assert [claimer.claim(job.id, "gpu.batch") for job in jobs[1:]] == [None, None], "these two are spare"
    assert ledger.get(other.id).state == "queued"
    running = claimer.claim(jobs[0].id, "gpu.batch")
    assert running and running.id == other.id, "no message is spare any more: this one wakes whoever waits"


def test_a_job_that_was_taken_beside_another_and_given_back_is_woken_by_its_second_message(
    claimer: Claimer, ledger: Ledger
) -> None:
    jobs = [new_job(ledger) for _ in range(2)]
    first = claimer.claim(jobs[0].id, "gpu.batch")
    assert first
    (second,) = claimer.claim_like(first.job, 1)
    ledger.release(second.claim)  # and published again
    assert claimer.claim(second.id, "gpu.batch") is None, "the message that it was taken without"
    again = claimer.claim(second.id, "gpu.batch")
    assert again and again.id == second.id


def test_a_job_taken_without_a_message_leaves_its_message_spare(claimer: Claimer, ledger: Ledger) -> None:
    job = new_job(ledger)
    running = claimer.claim_without_message("gpu.batch")
    assert running and running.id == job.id
    other = new_job(ledger)
    assert claimer.claim(job.id, "gpu.batch") is None and ledger.get(other.id).state == "queued"


def test_a_queue_below_has_starved_when_it_had_work_and_no_turn_for_the_whole_time(
    settings: Settings, redis_client: redis.Redis
) -> None:
    now = 1000.0
    floor = Floor(settings.model_copy(update={"floor_s": 60.0}), lambda: now)
    redis_client.lpush("gpu.background", "somebody waits")
    assert floor.starved("gpu.realtime") is None
    now = 1059.0
    assert floor.starved("gpu.realtime") is None
    now = 1061.0
    assert floor.starved("gpu.realtime") == "gpu.background"
    now = 1070.0
    assert floor.starved("gpu.realtime") is None, "it has just had its turn"


def test_a_turn_or_an_empty_queue_starts_the_time_anew(settings: Settings, redis_client: redis.Redis) -> None:
    now = 1000.0
    floor = Floor(settings.model_copy(update={"floor_s": 60.0}), lambda: now)
    assert floor.starved("gpu.realtime") is None
    redis_client.lpush("gpu.background", "waits since 1050")
    redis_client.lpush("gpu.batch", "waits, and is served at 1050")
    now = 1050.0
    floor.starved("gpu.realtime")
    floor.served("gpu.batch")
    now = 1061.0
    assert floor.starved("gpu.realtime") == "gpu.background"
    now = 1111.0
    assert floor.starved("gpu.realtime") == "gpu.batch"
