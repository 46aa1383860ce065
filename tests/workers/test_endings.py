"""How a job leaves a worker, each ending alone on a real ledger."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis

from milo.errors import BadMedia, Cancelled, EngineError, MiloError, Unavailable
from milo.jobs import NewJob, Progress
from milo.ledger import Ledger
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
