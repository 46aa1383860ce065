"""A clock that somebody sets: no lease ends early, none lasts for ever, nothing waits for a time that does not come."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from milo.jobs import NewJob
from milo.ledger import Ledger, outbox
from milo.ledger.clock import ClockSteps
from milo.queue.beat import Scheduler
from milo.queue.celery import app
from milo.settings import Settings

HOUR_S = 3600.0


class Clock:
    """Two clocks: the one on the wall, which can be set, and elapsed time."""

    def __init__(self) -> None:
        self.wall_s, self.elapsed_s = 1_700_000_000.0, 0.0

    def passes(self, seconds: float) -> None:
        self.wall_s += seconds
        self.elapsed_s += seconds

    def steps(self, note: Path | None = None) -> ClockSteps:
        return ClockSteps(note, lambda: self.wall_s, lambda: self.elapsed_s)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Iterator[Ledger]:
    opened = Ledger.open(Settings(home=tmp_path, _env_file=None))
    opened.clock, opened.steps = lambda: clock.wall_s, clock.steps()
    yield opened
    opened.engine.dispose()


def new(**fields: object) -> NewJob:
    values = {"kind": "ping", "payload": {"seconds": 0}, "owner": "operator", "priority": "batch"}
    return NewJob(**(values | fields))  # type: ignore[arg-type]


def test_time_that_passes_is_no_step_and_a_clock_that_is_set_is(clock: Clock) -> None:
    steps = clock.steps()
    clock.passes(HOUR_S)
    assert not steps.within(10)
    clock.wall_s -= HOUR_S
    assert steps.within(10)
    clock.passes(9)
    assert steps.within(10)
    clock.passes(2)
    assert not steps.within(10)


def test_a_process_that_slept_through_a_step_and_its_correction_learns_of_it(clock: Clock, tmp_path: Path) -> None:
    awake, asleep = clock.steps(tmp_path / "run" / "note"), clock.steps(tmp_path / "run" / "note")
    assert not awake.within(15) and not asleep.within(15)
    for jump_s in (-HOUR_S, HOUR_S):
        clock.wall_s += jump_s
        clock.passes(5)
        assert awake.within(15)
    assert asleep.within(15)
    clock.passes(20)
    assert not asleep.within(15)


def test_after_the_machine_has_started_anew_the_note_of_its_last_life_is_a_step(clock: Clock, tmp_path: Path) -> None:
    clock.passes(9 * HOUR_S)
    assert not clock.steps(tmp_path / "note").within(15)
    clock.elapsed_s = 1.0
    again = clock.steps(tmp_path / "note")
    assert again.within(15)
    clock.passes(16)
    assert not again.within(15)


@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S])
def test_the_living_keep_their_leases_over_a_step_and_the_dead_lose_theirs(
    ledger: Ledger, clock: Clock, jump_s: float
) -> None:
    living, dead = (ledger.claim(ledger.create(new()).id, worker) for worker in ("living", "dead"))
    assert living and dead
    clock.wall_s += jump_s
    assert ledger.reap() == [] and ledger.claim(dead.job.id, "thief") is None
    for _ in range(6):
        clock.passes(ledger.settings.lease_s / 5)
        assert ledger.renew([living]).lost == []
    assert [job.id for job in ledger.reap()] == [dead.job.id]


def test_a_retry_that_was_planned_before_the_clock_went_back_is_due(ledger: Ledger, clock: Clock) -> None:
    claim = ledger.claim(ledger.create(new()).id, "w")
    assert claim
    ledger.release(claim, due_in_s=10, retry=True)
    assert ledger.claim(claim.job.id, "w") is None
    clock.wall_s -= HOUR_S
    assert [job.id for job in ledger.unpublished({"gpu.batch": 0})] == [claim.job.id]
    assert ledger.claim(claim.job.id, "w")


def test_a_lost_message_from_before_the_clock_went_back_is_found_once(ledger: Ledger, clock: Clock) -> None:
    job = ledger.create(new())
    clock.wall_s -= HOUR_S
    assert [found.id for found in ledger.unpublished({"gpu.batch": 0})] == [job.id]
    assert ledger.unpublished({"gpu.batch": 1}) == []


def test_what_ran_before_the_clock_went_back_makes_no_storm_of_messages(ledger: Ledger, clock: Clock) -> None:
    assert ledger.claim(ledger.create(new()).id, "w")
    clock.wall_s -= HOUR_S
    ledger.create(new())
    clock.passes(ledger.settings.lost_after_s + 1)
    assert ledger.unpublished({"gpu.batch": 1}) == []


def test_a_webhook_from_before_the_clock_went_back_goes_out(ledger: Ledger, clock: Clock) -> None:
    claim = ledger.claim(ledger.create(new(callback_url="http://127.0.0.1:1/")).id, "w")
    assert claim
    ledger.finish(claim)
    clock.wall_s -= HOUR_S
    assert len(outbox.take_due(ledger.engine, clock.wall_s, 40, 10)) == 1
    assert outbox.take_due(ledger.engine, clock.wall_s, 40, 10) == []
    clock.wall_s -= HOUR_S
    assert len(outbox.take_due(ledger.engine, clock.wall_s, 40, 10)) == 1


def test_beat_goes_on_when_its_last_run_lies_in_the_future(tmp_path: Path) -> None:
    scheduler = Scheduler(app=app, schedule_filename=str(tmp_path / "schedule"))
    try:
        (name, entry), *_ = scheduler.schedule.items()
        entry.last_run_at = entry.default_now() + timedelta(hours=1)
        scheduler.populate_heap()
        assert not entry.is_due().is_due and entry.is_due().next > HOUR_S - 60
        scheduler.apply_entry = lambda entry, producer=None: None
        scheduler.tick()
        assert scheduler.schedule[name].is_due().next <= app.conf.beat_schedule[name]["schedule"]
    finally:
        scheduler.close()
