"""The watchdog: what it sees, what it does, how often, and that it is on record."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest
import redis

from milo import gpu
from milo.jobs import Job, NewJob
from milo.ledger import Claim, Ledger
from milo.monitoring import document, progress, redis_state, space, store, watchdog
from milo.monitoring import fixes as record
from milo.monitoring.fixes import STOPPED, Fix
from milo.monitoring.rules import BY_NAME, RULES
from milo.queue import pause
from milo.settings import Settings
from milo.training import runs
from tests.milo.monitoring.conftest import alive, card, checkpoint, new_training, run_of

GB = 10**9


@pytest.fixture
def check(settings: Settings, ledger: Ledger, redis_client: redis.Redis) -> Callable[[float], list[Fix]]:
    """Look once, so many seconds from now."""
    alive(redis_client)

    def at(seconds: float = 0) -> list[Fix]:
        state = redis_state.read(settings)
        return watchdog.check(
            settings, ledger, redis_state.RedisState(**state.__dict__ | {"at": time.time() + seconds})
        )

    return at


def claimed(ledger: Ledger, job: Job, worker: str = "gpu@here/0") -> Claim:
    claim = ledger.claim(job.id, worker)
    assert claim
    return claim


def asked_to_end(client: redis.Redis) -> list[dict[str, Any]]:
    return [json.loads(row) for row in client.lrange(watchdog.kill_key("gpu@here"), 0, -1)]


# --- a step that does not move ----------------------------------------------------------------------------------------


def test_a_step_that_moves_is_left_alone(
    settings: Settings, ledger: Ledger, check: Callable[[float], list[Fix]], redis_client: redis.Redis
) -> None:
    job = new_training(ledger)
    claimed(ledger, job)
    run = run_of(settings, job, 20)
    for number in range(5):
        assert check(number * 100) == []
        run.summarise(step=21 + number)
    assert asked_to_end(redis_client) == []


def test_a_step_that_stands_still_for_too_long_ends_the_child_that_runs_it(
    settings: Settings, ledger: Ledger, check: Callable[[float], list[Fix]], redis_client: redis.Redis
) -> None:
    job = new_training(ledger)
    claim = claimed(ledger, job)
    run = run_of(settings, job, 20)
    check(0)
    run.summarise(step=21)
    assert check(10) == [] and check(125) == []
    (fix,) = check(140)
    assert fix.rule == "step_not_moving" and fix.about == job.id
    assert fix.seen == "step 21 for 130 s, 120 s is the most" and "attempt 1 of 3" in fix.done
    assert asked_to_end(redis_client) == [{"job": job.id, "fence": claim.fence, "slot": 0}]
    (alert,) = run.alerts()
    assert alert["kind"] == "step_not_moving" and alert["action"] == "fix" and alert["step"] == 21
    assert check(145) == []  # it cools down
    assert document.build(settings, ledger)["auto_fixes"] == 1


def test_slow_steps_get_five_times_their_median(
    settings: Settings, ledger: Ledger, check: Callable[[float], list[Fix]]
) -> None:
    job = new_training(ledger)
    claimed(ledger, job)
    run = run_of(settings, job)
    for number in range(1, 21):
        run.log(number, **{"train/loss": 1.0, "time": 100.0 * number})
    check(0)
    run.summarise(step=20)
    check(1)
    assert check(480) == [] and len(check(520)) == 1


@pytest.mark.parametrize("step", [15, 30, 45])
def test_steps_that_save_or_evaluate_have_a_ceiling_of_their_own(
    settings: Settings, ledger: Ledger, check: Callable[[float], list[Fix]], step: int
) -> None:
    job = new_training(ledger)
    claimed(ledger, job)
    run = run_of(settings, job, step - 1)
    check(0)
    run.summarise(step=step)
    check(1)
    assert check(settings.hard_limit_s - 10) == [] and len(check(settings.hard_limit_s + 10)) == 1


def test_the_first_step_of_a_slice_may_load_the_model_first(
    settings: Settings, ledger: Ledger, check: Callable[[float], list[Fix]]
) -> None:
    job = new_training(ledger)
    claim = claimed(ledger, job)
    run_of(settings, job, 20)
    check(0)
    assert check(settings.hard_limit_s - 10) == []
    ledger.release(claim)
    claimed(ledger, job)
    assert check(settings.hard_limit_s + 10) == []  # another slice, another first step
    assert len(check(2 * settings.hard_limit_s + 30)) == 1


def test_a_training_that_waits_for_the_card_does_not_hang(
    settings: Settings, ledger: Ledger, check: Callable[[float], list[Fix]], redis_client: redis.Redis
) -> None:
    job = new_training(ledger)
    claim = claimed(ledger, job)
    run_of(settings, job, 20)
    check(0)
    ledger.release(claim)
    assert check(10_000) == []
    assert redis_client.hlen(redis_state.STEPS_KEY) == 0


def test_after_three_fixes_of_a_job_it_stops_and_says_so_once(
    settings: Settings, ledger: Ledger, check: Callable[[float], list[Fix]], redis_client: redis.Redis
) -> None:
    job = new_training(ledger)
    claimed(ledger, job)
    run = run_of(settings, job, 20)
    check(0)
    run.summarise(step=21)
    check(1)
    assert [len(check(1000 * number)) for number in range(1, 7)] == [1, 1, 1, 0, 0, 0]
    assert len(asked_to_end(redis_client)) == 3
    actions = [row["action"] for row in record.history(settings, "step_not_moving", job.id)]
    assert actions == ["fix", "fix", "fix", STOPPED]
    assert "mended 3 times" in run.alerts()[-1]["done"]
    assert document.build(settings, ledger)["auto_fixes"] == 3
    other = new_training(ledger)
    assert record.may_act(settings, "step_not_moving", other.id, "still")


def test_what_the_reconciler_takes_back_is_on_record(settings: Settings, ledger: Ledger) -> None:
    from workers.maintenance import reconcile

    job = new_training(ledger)
    run = run_of(settings, job, 20)
    ledger.clock = lambda: time.time() - 1000
    claimed(ledger, job)
    ledger.clock = time.time
    assert reconcile(settings, ledger) == 1
    (row,) = store.rows(settings, "fixes")
    assert row["rule"] == "worker_gone" and row["about"] == job.id and "attempt 2 of 3" in row["done"]
    assert [alert["kind"] for alert in run.alerts()] == ["worker_gone"]


def test_a_disk_too_full_to_write_on_keeps_no_job_from_being_queued_again(
    settings: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "append", full)
    watchdog.lost(settings, [new_training(ledger)])


def test_a_job_whose_child_the_watchdog_ended_is_one_fix_and_not_two(
    settings: Settings, ledger: Ledger, check: Callable[[float], list[Fix]]
) -> None:
    job = new_training(ledger)
    claimed(ledger, job)
    run = run_of(settings, job, 20)
    check(0)
    run.summarise(step=21)
    check(1)
    assert len(check(200)) == 1
    watchdog.lost(settings, ledger.reap(worker="gpu@here/0"))
    assert [row["rule"] for row in store.rows(settings, "fixes")] == ["step_not_moving"]


# --- heat -------------------------------------------------------------------------------------------------------------


def test_a_warm_card_is_told_of_and_a_hot_one_rests_until_it_is_cool(
    settings: Settings,
    ledger: Ledger,
    check: Callable[[float], list[Fix]],
    heat: Callable[[float | None], None],
) -> None:
    job = new_training(ledger)
    heat(84.9)
    assert check(0) == []
    heat(85)
    assert [(fix.rule, fix.action) for fix in check(0)] == [("gpu_hot", "alert")]
    assert check(10) == [] and pause.active(settings) == []
    heat(90)
    (fix,) = check(20)
    assert fix.rule == "gpu_overheated" and fix.seen == "90 C"
    assert ledger.claim(job.id, "gpu@here/0") is None  # nobody may take it
    heat(82)
    assert check(30) == [] and len(pause.active(settings)) == 1  # not cool enough
    heat(79)
    (fix,) = check(40)
    assert "go on" in fix.done and fix.action == "alert" and pause.active(settings) == []
    ledger.clock = lambda: time.time() + watchdog.PAUSE_S + 1
    assert ledger.claim(job.id, "gpu@here/0")


def test_an_archive_is_transcribed_while_training_rests(
    settings: Settings, ledger: Ledger, check: Callable[[float], list[Fix]], heat: Callable[[float | None], None]
) -> None:
    job = ledger.create(NewJob(kind="ping", payload={}, owner="ana", priority="batch"))
    heat(95)
    check(0)
    assert ledger.claim(job.id, "gpu@here/0")


def test_a_pause_that_nobody_repeats_ends_by_itself(settings: Settings) -> None:
    pause.put(settings, "gpu_overheated", "91 C", 0.05)
    deadline = time.monotonic() + 5
    while pause.active(settings):
        assert time.monotonic() < deadline


@pytest.mark.parametrize("temperature_c", [None, 60.0])
def test_a_card_that_tells_nothing_or_is_cool_pauses_nothing(
    settings: Settings,
    check: Callable[[float], list[Fix]],
    heat: Callable[[float | None], None],
    temperature_c: float | None,
) -> None:
    heat(temperature_c)
    assert check(0) == [] and pause.active(settings) == []


def test_a_running_training_gives_way_to_a_pause_at_its_next_step(settings: Settings, ledger: Ledger) -> None:
    from milo.storage.files import Files
    from workers import runner as module
    from workers.work import WORK, Work

    global STEPS_DONE
    STEPS_DONE = 0
    before = WORK.get(("training", "train"))
    WORK["training", "train"] = Work("tests.milo.monitoring.test_watchdog:endless")
    try:
        job = new_training(ledger)
        pause.put(settings, "gpu_overheated", "91 C", 60)
        word = module.Runner(settings, ledger, Files(settings), "gpu@here/0").run(job.id)
    finally:
        WORK.pop(("training", "train")) if before is None else WORK.update({("training", "train"): before})
    rested = ledger.get(job.id)
    assert word == "paused" and rested.state == "queued" and rested.attempt == 1
    assert rested.due_at is not None and time.time() < rested.due_at <= time.time() + 60
    assert 0 < STEPS_DONE < 10_000 and rested.progress.done > 0


STEPS_DONE = 0


def endless(running: Any) -> Any:
    from milo.jobs import Progress

    global STEPS_DONE
    while True:
        STEPS_DONE += 1
        time.sleep(0.01)
        yield Progress(done=STEPS_DONE, unit="steps")


# --- room -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets how many bytes are free."""

    def set_to(free: int) -> None:
        monkeypatch.setattr(space, "free_bytes", lambda folder: free)

    return set_to


def names(run: runs.Run) -> list[str]:
    return [path.name for path in run.checkpoints().values()]


def test_a_full_disk_loses_old_checkpoints_and_never_best_or_last(
    settings: Settings, ledger: Ledger, check: Callable[[float], list[Fix]], room: Callable[[int], None]
) -> None:
    ended, job = new_training(ledger), new_training(ledger)
    done = run_of(settings, ledger.cancel(ended.id), 60, state="done")
    claimed(ledger, job)
    active = run_of(settings, job, 50)
    for run in (done, active):
        for step in (10, 20, 30, 40, 50):
            checkpoint(run, step)
        (run.path / "best").symlink_to("checkpoint-20")
    done.summarise(
        best={"step": 20, "path": "checkpoint-20"}, last={"step": 50, "path": str(done.path / "checkpoint-50")}
    )
    room(GB)
    fixes = check(0)
    assert [fix.rule for fix in fixes] == ["disk_low", "disk_full"]
    assert names(done) == ["checkpoint-20", "checkpoint-50"]
    assert names(active) == ["checkpoint-20", "checkpoint-40", "checkpoint-50"]
    assert f"{done.id}/checkpoint-10" in fixes[0].done and f"{active.id}/checkpoint-30" in fixes[0].done
    assert not list(settings.home.glob("runs/*/.removed-*"))
    assert [one.rule for one in pause.active(settings)] == ["disk_full"]
    assert check(10) == [] and check(20) == []  # it was told, and it still rests
    room(100 * GB)
    (fix,) = check(30)
    assert "go on" in fix.done and pause.active(settings) == []


def test_no_more_is_removed_than_is_needed(settings: Settings, ledger: Ledger) -> None:
    run = run_of(settings, new_training(ledger), 60, state="done")
    for step in (10, 20, 30, 40):
        checkpoint(run, step, size=100)
    assert space.prune(settings, [], 150) == [(f"{run.id}/checkpoint-10", 100), (f"{run.id}/checkpoint-20", 100)]
    assert names(run) == ["checkpoint-30", "checkpoint-40"]


def test_two_checkpoints_of_the_run_must_fit(settings: Settings, ledger: Ledger, room: Callable[[int], None]) -> None:
    run = run_of(settings, new_training(ledger), 60)
    assert space.needed_bytes(None) == space.needed_bytes(run) == 2 * 1024**3
    folder = checkpoint(run, 10)
    with (folder / "optimizer.pt").open("wb") as file:
        file.truncate(3 * GB)  # a hole: it takes no room
    assert space.needed_bytes(run) == 6 * GB + 20


def test_with_room_nothing_is_touched(
    settings: Settings, ledger: Ledger, check: Callable[[float], list[Fix]], room: Callable[[int], None]
) -> None:
    run = run_of(settings, new_training(ledger), 60, state="done")
    for step in (10, 20, 30):
        checkpoint(run, step)
    room(100 * GB)
    assert check(0) == [] and len(names(run)) == 3


def test_a_run_of_an_unknown_hand_keeps_its_newest_checkpoint(settings: Settings) -> None:
    folder = settings.home / "runs" / "20260101T000000Z_by-hand_x"
    (folder / "checkpoint-7").mkdir(parents=True)
    (folder / "checkpoint-8").mkdir()
    assert [path.name for path in space.spare(settings, [])] == ["checkpoint-7"]


# --- around it --------------------------------------------------------------------------------------------------------


def test_without_redis_it_does_nothing_and_says_nothing(settings: Settings, ledger: Ledger) -> None:
    assert watchdog.check(settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"}), ledger) == []


def test_rules_have_names_of_their_own() -> None:
    assert len(BY_NAME) == len(RULES)


def test_a_gpu_worker_tells_what_its_card_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_state, "read_gpus", lambda: gpu.GpuReading((), "no card here"))
    note = json.loads(json.dumps(asdict(gpu.GpuReading((card(70),)))))
    assert redis_state.cards([{"node": "gpu@here", "at": 1.0, "gpu": note}]).gpus == (card(70),)


def test_the_median_step_is_that_of_the_last_rows(settings: Settings, ledger: Ledger) -> None:
    run = run_of(settings, new_training(ledger), speed_s_per_step=7.0)
    assert progress.median_step_s(run) == 7.0 and progress.median_step_s(None) == 0.0
    for step, at in ((1, 0.0), (2, 1.0), (4, 5.0), (5, 7.0), (6, 500.0)):
        run.log(step, **{"train/loss": 1.0, "time": at})
    assert progress.median_step_s(run) == 2.0
