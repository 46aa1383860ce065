"""How a job leaves a worker, each ending alone on a real ledger."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import redis

from milo.errors import BadMedia, Cancelled, EngineError, MiloError, Unavailable
from milo.jobs import NewJob, Progress
from milo.ledger import Ledger
from milo.queue.events import EARLY
from milo.settings import Settings
from milo.storage.files import Files
from workers.endings import RETRY_AFTER_S, Endings, retry_after_s
from workers.work import Finished, RunningJob


@pytest.fixture
def endings(settings: Settings, ledger: Ledger) -> Endings:
    return Endings(settings, ledger, Files(settings))


@pytest.fixture
def claimed(settings: Settings, ledger: Ledger) -> Callable[..., RunningJob]:
    def claim(**fields: Any) -> RunningJob:
        new = {"kind": "ping", "payload": {"seconds": 0}, "owner": "ana", "priority": "batch"} | fields
        claim = ledger.claim(ledger.create(NewJob(**new)).id, "gpu/0")
        assert claim
        return RunningJob(claim, settings, ledger, Files(settings))

    return claim


def redis_error() -> MiloError:
    error = Unavailable("Redis does not answer", code="redis_down", retry_after_s=2)
    error.__cause__ = redis.ConnectionError("refused")
    return error


@pytest.mark.parametrize(
    ("error", "max_attempts", "state", "attempt"),
    [
        (BadMedia("no audio"), 3, "failed", 1),
        (EngineError("a hiccup"), 3, "queued", 2),
        (EngineError("a hiccup"), 1, "failed", 1),
        (redis_error(), 1, "queued", 1),
        (Cancelled("stopped"), 3, "cancelled", 1),
    ],
)
def test_an_error_decides_whether_the_job_comes_back(
    endings: Endings, ledger: Ledger, claimed: Any, error: MiloError, max_attempts: int, state: str, attempt: int
) -> None:
    running = claimed(max_attempts=max_attempts)
    endings.fail(running, error)
    after = ledger.get(running.id)
    assert (after.state, after.attempt) == (state, attempt)
    assert (after.due_at is not None) == (state == "queued")


def test_the_pause_grows_with_the_attempts_and_then_stays() -> None:
    assert tuple(retry_after_s(attempt) for attempt in (1, 2, 3, 4)) == (*RETRY_AFTER_S, RETRY_AFTER_S[-1])


def test_released_work_keeps_its_progress_and_is_woken_at_once_or_when_it_is_due(
    endings: Endings, ledger: Ledger, claimed: Any, redis_client: redis.Redis
) -> None:
    at_once, later = claimed(), claimed()
    at_once.progress = Progress(done=3, total=7)
    endings.release(at_once)
    endings.release(later, 60)
    after = ledger.get(at_once.id)
    assert (after.state, after.progress.done, after.due_at) == ("queued", 3, None)
    assert redis_client.llen("gpu.batch") == 1, "one wake-up; the other job's comes when it is due"
    assert (ledger.get(later.id).due_at or 0) > ledger.clock() + 50


def test_work_that_is_lost_again_and_again_fails_the_job(
    endings: Endings, ledger: Ledger, claimed: Any, redis_client: redis.Redis
) -> None:
    payload = {"source": {"blob": "0" * 64, "name": "a"}, "model": "m"}
    first, last = claimed(kind="stt", payload=payload), claimed(kind="stt", payload=payload, max_attempts=1)
    endings.back_to(first, "decode")
    endings.back_to(last, "decode")
    after = ledger.get(first.id)
    assert (after.state, after.stage, after.attempt) == ("queued", "decode", 2)
    failed = ledger.get(last.id)
    assert failed.state == "failed" and failed.error and failed.error["code"] == "work_lost"


def test_the_ending_of_an_outdated_claim_changes_nothing(endings: Endings, ledger: Ledger, claimed: Any) -> None:
    running = claimed()
    ledger.reap(worker="gpu/0")
    assert ledger.claim(running.id, "another")
    endings.finish(running, Finished({"from": "the old one"}))
    endings.fail(running, BadMedia("no audio"))
    endings.release(running)
    endings.cancel(running)
    after = ledger.get(running.id)
    assert (after.state, after.worker, after.result) == ("running", "another", None)


def speech(priority: str) -> dict[str, Any]:
    payload = {"text": "salama", "language": "mg", "format": "wav", "model": "espeak"}
    return {"kind": "tts", "payload": payload, "priority": priority}


@pytest.mark.parametrize(
    ("priority", "lost", "said"), [("realtime", False, 1), ("batch", False, 0), ("realtime", True, 0)]
)
def test_a_person_who_waits_is_told_before_the_file_is_synced(
    endings: Endings,
    ledger: Ledger,
    claimed: Any,
    redis_client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    priority: str,
    lost: bool,
    said: int,
) -> None:
    running = claimed(**speech(priority))
    file = running.files.write_result(running.id, running.claim.fence, b"RIFF", "wav", synced=False)
    heard = redis_client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
    heard.subscribe(EARLY)
    assert heard.get_message(timeout=5) is None
    if lost:
        ledger.reap(worker="gpu/0")
    states = []

    def sync(files: Files, name: str) -> None:
        message = heard.get_message(timeout=5 if said else 0.1)
        assert (message is not None) == bool(said)
        assert message is None or json.loads(message["data"])["result_file"] == name == file
        states.append(ledger.get(running.id).state)

    monkeypatch.setattr(Files, "sync_result", sync)
    endings.finish(running, Finished({"bytes": 4}, file=file, synced=False))
    assert states == ["queued" if lost else "running"], "no row names a file that is not synced"
    assert ledger.get(running.id).state == ("queued" if lost else "succeeded")


def test_what_a_job_needs_is_dropped_when_its_end_is_on_the_disk(
    endings: Endings, claimed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [claimed() for _ in range(3)]
    folders = [running.work_folder for running in jobs]
    syncs: list[int] = []
    monkeypatch.setattr("milo.ledger.log_sync.sync_file", syncs.append)
    for running in jobs:
        endings.finish(running, Finished())
    assert all(folder.exists() for folder in folders) and not syncs
    endings.settle()
    assert len(syncs) == 1 and not any(folder.exists() for folder in folders)
