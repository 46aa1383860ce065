"""The loop that every job runs through, on a real ledger and a real Redis, with work made for the test."""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import redis

from milo.chat.sessions import Sessions
from milo.errors import BadMedia, EngineError
from milo.jobs import Job, NewJob, Progress
from milo.kinds import KINDS
from milo.ledger import Ledger
from milo.models import apart
from milo.queue import wakeups
from milo.settings import Settings
from milo.stack.ports import free_port
from milo.storage.files import Files
from workers import driving, work
from workers.group import Group
from workers.runner import Runner
from workers.work import Finished, NextStage, RetryLater, RunningJob, Work


@pytest.fixture
def runner(settings: Settings, ledger: Ledger) -> Runner:
    return Runner(settings, ledger, Files(settings), "gpu/0")


def new_job(ledger: Ledger, **fields: Any) -> Job:
    values = {"kind": "ping", "payload": {"seconds": 0}, "owner": "ana", "priority": "batch"}
    return ledger.create(NewJob(**(values | fields)))


def test_a_single_generator_runs_to_its_end_and_its_return_value_is_the_result(
    runner: Runner, ledger: Ledger, runs: Any
) -> None:
    def run(running: RunningJob) -> Iterator[Progress]:
        yield Progress(done=1, total=2)
        return Finished({"answer": running.id}, audio_s=3.0, models={"stt": "m@1"})

    runs(run)
    job = new_job(ledger)
    assert runner.run(job.id) == "done"
    after = ledger.get(job.id)
    assert after.state == "succeeded" and after.result == {"answer": job.id} and after.audio_s == 3.0
    assert runner.run(job.id) == "nothing to do"


def test_at_the_end_of_a_slice_the_job_goes_back_and_then_on_from_its_parked_generator(
    runner: Runner, ledger: Ledger, runs: Any
) -> None:
    starts: list[str] = []
    seen: list[int] = []

    def run(running: RunningJob) -> Iterator[Progress]:
        starts.append(running.id)
        for step in range(6):
            seen.append(step)
            yield Progress(done=step + 1, total=6)
        return Finished({"steps": 6})

    runs(run)
    runner.settings = runner.settings.model_copy(update={"slice_s": 0})
    job = new_job(ledger)
    words = []
    while not ledger.get(job.id).final:
        words.append(runner.run(job.id))
    assert words == ["slice ended"] * 6 + ["done"]
    assert starts == [job.id] and seen == list(range(6))
    assert ledger.get(job.id).slices == 6


def test_another_worker_starts_the_job_anew(runner: Runner, ledger: Ledger, settings: Settings, runs: Any) -> None:
    starts: list[str] = []

    def run(running: RunningJob) -> Iterator[Progress]:
        starts.append(running.claim.worker)
        yield Progress()
        return Finished({})

    runs(run)
    job = new_job(ledger)
    runner.settings = settings.model_copy(update={"slice_s": 0})
    assert runner.run(job.id) == "slice ended"
    assert Runner(settings, ledger, Files(settings), "gpu/1").run(job.id) == "done"
    assert starts == ["gpu/0", "gpu/1"]


def test_a_job_gives_way_when_a_person_waits(
    runner: Runner, ledger: Ledger, settings: Settings, runs: Any, redis_client: redis.Redis
) -> None:
    def run(running: RunningJob) -> Iterator[Progress]:
        for step in range(10_000):
            if step == 3:
                redis_client.lpush("gpu.realtime", "somebody waits")
            time.sleep(0.005)
            yield Progress(done=step)
        return Finished({})

    runs(run)
    job = new_job(ledger, priority="background")
    assert runner.run(job.id) == "gave way"
    after = ledger.get(job.id)
    assert after.state == "queued" and after.slices == 1 and after.progress.done < 100
    assert redis_client.llen("gpu.background") == 1, "the released job has its wake-up"


@pytest.mark.parametrize("floor_s", [0, 60])
def test_work_that_waits_for_too_long_gets_a_short_turn_before_a_person(
    settings: Settings, ledger: Ledger, runs: Any, redis_client: redis.Redis, floor_s: float
) -> None:
    began = []

    def run(running: RunningJob) -> Iterator[Progress]:
        began.append(running.job.priority)
        for _ in range(1000 if running.job.priority == "background" else 1):
            time.sleep(0.002)
            yield Progress()
        return Finished({})

    runs(run)
    quick = settings.model_copy(update={"floor_s": floor_s, "floor_slice_s": 0.02})
    runner = Runner(quick, ledger, Files(quick), "gpu/0")
    training, person = new_job(ledger, priority="background"), new_job(ledger, priority="realtime")
    redis_client.lpush("gpu.background", "wake up")
    redis_client.lpush("gpu.realtime", "more people")
    assert runner.run(person.id, "gpu.realtime") == "done"
    assert began == (["background", "realtime"] if floor_s == 0 else ["realtime"])
    assert ledger.get(person.id).state == "succeeded"
    after = ledger.get(training.id)
    assert (after.state, after.slices) == ("queued", 1 if floor_s == 0 else 0)


def test_nobody_gives_way_to_work_of_equal_or_lower_priority(
    runner: Runner, ledger: Ledger, runs: Any, redis_client: redis.Redis
) -> None:
    def run(running: RunningJob) -> Iterator[Progress]:
        for _ in range(20):
            time.sleep(0.005)
            yield Progress()
        return Finished({})

    runs(run)
    redis_client.lpush("gpu.background", "later")
    redis_client.lpush("gpu.interactive", "also")
    assert runner.run(new_job(ledger, priority="interactive").id) == "done"


@pytest.mark.parametrize("patient", [True, False])
def test_a_job_that_has_said_nothing_yet_lets_others_of_its_queue_pass(
    runner: Runner,
    ledger: Ledger,
    runs: Any,
    redis_client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    patient: bool,
) -> None:
    monkeypatch.setattr(driving, "LET_PASS_AFTER_S", 0.02)

    def run(running: RunningJob) -> Iterator[Progress]:
        running.lets_equals_pass = patient
        for _ in range(20):
            time.sleep(0.005)
            yield Progress()
        return Finished({})

    runs(run)
    job = new_job(ledger, priority="realtime")
    redis_client.lpush("gpu.realtime", "somebody waits")
    assert runner.run(job.id) == ("gave way" if patient else "done")
    redis_client.delete("gpu.realtime")
    if patient:
        assert runner.run(job.id) == "done", "nobody waits any more"


def test_a_cancelled_job_stops_within_a_few_yields(runner: Runner, ledger: Ledger, runs: Any) -> None:
    closed = threading.Event()
    steps = []

    def run(running: RunningJob) -> Iterator[Progress]:
        try:
            ledger.cancel(running.id)
            for step in range(1000):
                time.sleep(0.01)
                steps.append(step)
                yield Progress()
        finally:
            closed.set()
        return Finished({})

    runs(run)
    job = new_job(ledger)
    runner.run(job.id)
    assert ledger.get(job.id).state == "cancelled"
    assert closed.is_set()
    assert len(steps) <= 20, "a reply that was spoken over goes on"


def test_a_refusal_fails_the_job_with_its_problem_at_once(runner: Runner, ledger: Ledger, runs: Any) -> None:
    def run(running: RunningJob) -> Iterator[Progress]:
        raise BadMedia("not a recording", code="not_audio")
        yield

    runs(run)
    job = new_job(ledger)
    assert runner.run(job.id) == "not_audio"
    failed = ledger.get(job.id)
    assert failed.state == "failed" and failed.attempt == 1
    assert failed.error and (failed.error["status"], failed.error["code"]) == (415, "not_audio")


def test_a_fault_that_may_pass_is_tried_again_later_up_to_the_limit(
    runner: Runner, ledger: Ledger, runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(running: RunningJob) -> Iterator[Progress]:
        raise ZeroDivisionError("engine bug")
        yield

    runs(run)
    job = new_job(ledger, max_attempts=2)
    assert runner.run(job.id) == "internal_error"
    waiting = ledger.get(job.id)
    assert waiting.state == "queued" and waiting.attempt == 2 and waiting.due_at
    monkeypatch.setattr(ledger, "clock", lambda: waiting.due_at + 1)
    runner.run(job.id)
    failed = ledger.get(job.id)
    assert failed.state == "failed" and failed.error and "ZeroDivisionError: engine bug" in failed.error["detail"]


def test_a_redis_that_is_away_costs_no_attempt(
    runner: Runner, ledger: Ledger, settings: Settings, runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{free_port()}/0"})

    def run(running: RunningJob) -> Iterator[Progress]:
        Sessions(away).open("ana")
        yield Progress()

    runs(run)
    job = new_job(ledger, max_attempts=1)
    now = ledger.clock()
    for number in range(3):
        monkeypatch.setattr(ledger, "clock", lambda number=number: now + 10 * number)
        assert runner.run(job.id) == "redis_down"
        waiting = ledger.get(job.id)
        assert (waiting.state, waiting.attempt) == ("queued", 1) and waiting.due_at


def test_running_out_of_memory_fails_the_job_and_not_the_worker(runner: Runner, ledger: Ledger, runs: Any) -> None:
    def run(running: RunningJob) -> Iterator[Progress]:
        raise MemoryError
        yield

    runs(run)
    job = new_job(ledger, max_attempts=1)
    assert runner.run(job.id) == "out_of_memory"
    assert ledger.get(job.id).state == "failed"


def test_a_worker_that_lost_its_lease_publishes_nothing(runner: Runner, ledger: Ledger, runs: Any) -> None:
    def run(running: RunningJob) -> Iterator[Progress]:
        ledger.reap(worker="gpu/0")
        assert ledger.claim(running.id, "heir")
        yield Progress()
        return Finished({"from": "zombie"})

    runs(run)
    job = new_job(ledger)
    runner.run(job.id)
    after = ledger.get(job.id)
    assert after.state == "running" and after.worker == "heir" and after.result is None


def test_the_lease_is_renewed_while_one_step_takes_long(settings: Settings, ledger: Ledger, runs: Any) -> None:
    short = settings.model_copy(update={"lease_s": 0.3})
    ledger.settings = short
    reaped: list[Job] = []

    def run(running: RunningJob) -> Iterator[Progress]:
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            reaped.extend(ledger.reap())
            time.sleep(0.02)
        yield Progress()
        return Finished({})

    runs(run)
    job = new_job(ledger)
    assert Runner(short, ledger, Files(short), "gpu/0").run(job.id) == "done"
    assert reaped == []


def test_the_next_stage_gets_the_job_and_a_wake_up(
    runner: Runner, ledger: Ledger, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(running: RunningJob) -> Iterator[Progress]:
        yield Progress()
        return NextStage("transcribe", audio_s=7.0)

    module = ModuleType("work_of_the_test")
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "work_of_the_test", module)
    monkeypatch.setitem(work.WORK, ("stt", "decode"), Work("work_of_the_test:run", sliced=False))
    payload = {"source": {"blob": "0" * 64, "name": "a"}, "model": "m"}
    job = new_job(ledger, kind="stt", payload=payload)
    runner.run(job.id)
    after = ledger.get(job.id)
    assert (after.state, after.stage, after.queue, after.audio_s) == ("queued", "transcribe", "gpu.batch", 7.0)
    assert redis_client.llen("gpu.batch") == 1


def test_a_group_takes_in_equal_jobs_and_finishes_each(runner: Runner, ledger: Ledger, runs: Any) -> None:
    sizes: list[int] = []

    def run(group: Group) -> Iterator[None]:
        group.more(10)
        sizes.append(len(group.jobs))
        for running in list(group.jobs.values()):
            group.finish(running, Finished({"id": running.id}))
            yield

    runs(run, grouped=True)
    jobs = [new_job(ledger) for _ in range(5)]
    assert runner.run(jobs[2].id) == "done"
    assert sizes == [5]
    assert all(ledger.get(job.id).result == {"id": job.id} for job in jobs)


def test_a_fault_in_a_group_sends_each_job_on_alone(runner: Runner, ledger: Ledger, runs: Any) -> None:
    sizes: list[int] = []

    def run(group: Group) -> Iterator[None]:
        group.more(10)
        sizes.append(len(group.jobs))
        if len(group.jobs) > 1:
            raise EngineError("one of you is poison")
        group.finish(group.first, Finished({}))
        yield

    runs(run, grouped=True)
    jobs = [new_job(ledger) for _ in range(3)]
    runner.run(jobs[0].id)
    assert [ledger.get(job.id).attempt for job in jobs] == [2, 2, 2]
    later = time.time() + 100
    ledger.clock = lambda: later
    for job in jobs:
        runner.run(job.id)
    assert sizes == [3, 1, 1, 1]
    assert all(ledger.get(job.id).state == "succeeded" for job in jobs)


def test_a_worker_that_is_told_to_stop_gives_way(runner: Runner, ledger: Ledger, settings: Settings, runs: Any) -> None:
    import os

    note = settings.home / "run" / f"stop-{os.getppid()}"
    note.parent.mkdir(parents=True)

    def run(running: RunningJob) -> Iterator[Progress]:
        note.touch()
        yield Progress()
        yield Progress()
        return Finished({})

    runs(run)
    job = new_job(ledger)
    assert runner.run(job.id) == "slice ended"
    assert ledger.get(job.id).state == "queued"


def test_every_stage_of_every_kind_has_its_work() -> None:
    works = [work.WORK[name, stage.name].load() for name, kind in KINDS.items() for stage in kind.stages]
    assert len(works) == 18 and all(callable(function) for function in works)


def test_a_broker_that_is_away_costs_a_wake_up_and_no_job(
    runner: Runner, ledger: Ledger, runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(running: RunningJob) -> Iterator[Progress]:
        yield Progress()
        return Finished({})

    runs(run)
    monkeypatch.setattr(wakeups, "submit", lambda job: False)
    runner.settings = runner.settings.model_copy(update={"slice_s": 0})
    job = new_job(ledger)
    assert runner.run(job.id) == "slice ended"
    later = time.time() + ledger.settings.lost_after_s + 1
    ledger.clock = lambda: later
    assert [found.id for found in ledger.unpublished({"gpu.batch": 0})] == [job.id]


def test_finished_work_waits_for_a_ledger_that_is_locked(
    runner: Runner, ledger: Ledger, settings: Settings, runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("milo.ledger.database.BUSY_TIMEOUT_MS", 50)
    impatient = Ledger.open(settings)
    other = sqlite3.connect(settings.home / "ledger.sqlite3", isolation_level=None, check_same_thread=False)
    refused = threading.Event()

    def run(running: RunningJob) -> Iterator[Progress]:
        yield Progress()
        other.execute("BEGIN IMMEDIATE")
        return Finished({"made": "once"})

    class Listening(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "can't be written yet" in record.getMessage() and not refused.is_set():
                refused.set()
                other.execute("ROLLBACK")

    listening = Listening()
    logging.getLogger("workers.endings").addHandler(listening)
    runs(run)
    job = new_job(ledger)
    try:
        assert Runner(settings, impatient, Files(settings), "gpu/0").run(job.id) == "done"
    finally:
        logging.getLogger("workers.endings").removeHandler(listening)
        other.close()
        impatient.engine.dispose()
    after = ledger.get(job.id)
    assert refused.is_set() and after.state == "succeeded" and after.result == {"made": "once"} and after.attempt == 1


def test_a_full_disk_is_a_fault_that_may_pass(runner: Runner, ledger: Ledger, runs: Any) -> None:
    def run(running: RunningJob) -> Iterator[Progress]:
        raise OSError(errno.ENOSPC, "No space left on device")
        yield

    runs(run)
    job = new_job(ledger)
    assert runner.run(job.id) == "storage"
    after = ledger.get(job.id)
    assert after.state == "queued" and after.due_at is not None


def test_work_folders_are_gone_when_the_job_has_ended(
    runner: Runner, ledger: Ledger, settings: Settings, runs: Any
) -> None:
    folders: list[Path] = []

    def run(running: RunningJob) -> Iterator[Progress]:
        (running.work_folder / "scratch").write_text("x")
        folders.append(running.work_folder)
        yield Progress()
        return Finished({})

    runs(run)
    runner.run(new_job(ledger).id)
    assert not folders[0].exists()


def test_a_generator_that_raised_is_begun_anew_in_the_same_worker(runner: Runner, ledger: Ledger, runs: Any) -> None:
    starts: list[int] = []

    def run(running: RunningJob) -> Iterator[Progress]:
        starts.append(running.job.attempt)
        yield Progress(done=1)
        if len(starts) == 1:
            raise EngineError("a hiccup")
        return Finished({"starts": len(starts)})

    runs(run)
    job = new_job(ledger)
    assert runner.run(job.id) == "engine_error"
    due_at = ledger.get(job.id).due_at
    ledger.clock = lambda: due_at or 0.0
    assert runner.run(job.id) == "done"
    assert ledger.get(job.id).result == {"starts": 2} and starts == [1, 2]


def test_a_job_that_comes_too_early_goes_back_without_losing_an_attempt(
    runner: Runner, ledger: Ledger, runs: Any
) -> None:
    def run(running: RunningJob) -> Iterator[Progress]:
        return RetryLater(30)
        yield Progress()

    runs(run)
    job = new_job(ledger)
    runner.run(job.id)
    after = ledger.get(job.id)
    assert (after.state, after.attempt) == ("queued", 1)
    assert after.due_at is not None and after.due_at > ledger.clock() + 20


def test_parked_work_is_closed_when_its_job_has_been_cancelled(
    runner: Runner, ledger: Ledger, settings: Settings, runs: Any
) -> None:
    closed: list[str] = []

    def run(running: RunningJob) -> Iterator[Progress]:
        try:
            yield Progress()
        finally:
            closed.append(running.id)
        return Finished({})

    runs(run)
    runner.settings = settings.model_copy(update={"slice_s": 0})
    first, second = new_job(ledger), new_job(ledger)
    assert runner.run(first.id) == "slice ended"
    ledger.cancel(first.id)
    runner.run(second.id)
    assert closed == [first.id]


def test_a_load_that_is_ended_because_its_job_was_cancelled_ends_that_job_and_lets_the_others_begin_again(
    runner: Runner, ledger: Ledger, runs: Any
) -> None:
    job = new_job(ledger)

    def run(running: RunningJob) -> Iterator[Progress]:
        if running.id == job.id:
            ledger.cancel(job.id)
        sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
        apart.run_apart(sleep, dict(os.environ), apart.Limits(600, 2**30))
        yield Progress(done=1)
        return Finished({})

    runs(run)
    started = time.monotonic()
    assert runner.run(job.id) == "cancelled"
    assert ledger.get(job.id).state == "cancelled" and time.monotonic() - started < 20


def test_a_load_is_ended_when_the_worker_is_told_to_stop_and_its_job_goes_back(
    runner: Runner, ledger: Ledger, runs: Any, settings: Settings
) -> None:
    def run(running: RunningJob) -> Iterator[Progress]:
        note = settings.home / "run" / f"stop-{os.getppid()}"
        note.parent.mkdir(parents=True, exist_ok=True)
        note.touch()
        sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
        apart.run_apart(sleep, dict(os.environ), apart.Limits(600, 2**30))
        yield Progress(done=1)
        return Finished({})

    runs(run)
    job = new_job(ledger)
    assert runner.run(job.id) == "cancelled"
    assert ledger.get(job.id).state == "queued" and ledger.get(job.id).attempt == 1
