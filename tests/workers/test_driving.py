"""The rules of a slice alone: a clock of the test's, a real ledger and a real Redis, no generator."""

from __future__ import annotations

import os
from typing import Any

import pytest
import redis

from milo.jobs import NewJob
from milo.ledger import Ledger
from milo.queue import pause
from milo.settings import Settings
from milo.storage.files import Files
from workers.claiming import Claimer
from workers.driving import GiveWay, Slice
from workers.endings import Endings
from workers.group import Group
from workers.leases import Leases


class Driver:
    """A claimed job and the parts around it; `now` is the clock of its slices."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self.settings, self.ledger, self.now = settings, ledger, 0.0
        files = Files(settings)
        claimer, endings = Claimer(settings, ledger, files, "gpu/0"), Endings(settings, ledger, files)
        new = NewJob(kind="ping", payload={"seconds": 0}, owner="ana", priority="background")
        running = claimer.claim(ledger.create(new).id, None)
        assert running
        self.running, self.group = running, Group(running, claimer, endings)
        self.leases = Leases(settings, ledger, endings)

    def slice(self, length_s: float | None = 30.0, **options: Any) -> Slice:
        return Slice(self.settings, self.group, self.leases, length_s, clock=lambda: self.now, **options)


@pytest.fixture
def driver(settings: Settings, ledger: Ledger, redis_client: redis.Redis) -> Driver:
    return Driver(settings.model_copy(update={"lease_s": 30.0}), ledger)


def test_a_slice_ends_after_its_length_and_work_that_is_not_sliced_goes_on(driver: Driver) -> None:
    sliced, whole = driver.slice(), driver.slice(None)
    driver.now += 29
    assert sliced.after_step() is None
    driver.now += 1
    assert sliced.after_step() == GiveWay("slice ended") and whole.after_step() is None


def test_higher_work_ends_a_slice_but_not_a_turn_of_the_floor(driver: Driver, redis_client: redis.Redis) -> None:
    usual, floor = driver.slice(), driver.slice(floor=True)
    redis_client.lpush("gpu.realtime", "somebody waits")
    assert usual.after_step() is None, "the queues were looked at a moment ago"
    driver.now += 0.02
    assert usual.after_step() == GiveWay("gave way") and floor.after_step() is None


def test_a_pause_gives_background_work_back_until_the_pause_ends(driver: Driver) -> None:
    rules = driver.slice()
    pause.put(driver.settings, "gpu_overheated", "90 C", 60)
    driver.now += 0.9
    assert rules.after_step() is None
    driver.now += 0.1
    stop = rules.after_step()
    assert stop and stop.reason == "paused" and stop.due_in_s and 50 < stop.due_in_s <= 60


def test_a_worker_that_stops_gives_way_at_once(driver: Driver) -> None:
    note = driver.settings.home / "run" / f"stop-{os.getppid()}"
    note.parent.mkdir(parents=True, exist_ok=True)
    note.touch()
    assert driver.slice(None).after_step() == GiveWay("slice ended")


def test_a_cancelled_job_is_ended_a_tenth_of_a_second_later_and_leaves_the_group(driver: Driver) -> None:
    rules, job_id = driver.slice(), driver.running.id
    driver.ledger.cancel(job_id)
    driver.now += 0.05
    assert rules.after_step() is None and driver.group.active(job_id)
    driver.now += 0.05
    assert rules.after_step() is None
    assert not driver.group.active(job_id) and driver.ledger.get(job_id).state == "cancelled"


def test_the_lease_is_renewed_once_a_second(driver: Driver) -> None:
    def expires_at() -> float:
        return driver.ledger.get(driver.running.id).lease_expires_at or 0.0

    rules, before = driver.slice(), expires_at()
    driver.now += 0.9
    rules.after_step()
    assert expires_at() == before
    driver.now += 0.1
    rules.after_step()
    assert expires_at() > before
