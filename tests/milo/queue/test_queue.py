"""What a Redis that hangs, or nonsense in it, may cost: a wake-up, never a request or a worker."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from milo import metrics
from milo.jobs import NewJob
from milo.ledger import Ledger
from milo.queue import wakeups
from milo.settings import Settings
from tests.support.servers import ROOT, celery_worker, environment, wait_until

JUNK = (
    b"\xff\xfe\x00raw",
    b"not json",
    b"{}",
    b"[]",
    b"null",
    b'"text"',
    b'{"body": 5, "headers": [], "properties": {}}',
)


@contextmanager
def hung(client: redis.Redis) -> Iterator[None]:
    pid = int(client.info("server")["process_id"])  # type: ignore[index]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_request_does_not_wait_for_a_wake_up_that_a_hung_redis_holds_up(
    settings: Settings, redis_client: redis.Redis
) -> None:
    ledger = Ledger.open(settings)
    job = ledger.create(NewJob(kind="ping", payload={"seconds": 0}, owner="ana", priority="batch"))
    assert wakeups.submit(job)  # connected
    with hung(redis_client):
        began = time.monotonic()
        assert not wakeups.submit(job, wakeups.PUBLISH_WAIT_S)
        assert time.monotonic() - began < 1
        assert wakeups.in_background(wakeups.run_beat_task, "webhooks") is None, "it waited until kombu gave up"
    assert wakeups.in_background(redis_client.llen, "gpu.batch") is not None
    ledger.engine.dispose()


def test_a_worker_drops_what_is_no_message_and_tells_its_children_at_once_when_it_is_told_to_stop(
    settings: Settings, redis_client: redis.Redis
) -> None:
    ledger = Ledger.open(settings)
    with celery_worker(settings, "gpu.batch") as worker:
        redis_client.lpush("gpu.batch", *JUNK)
        job = ledger.create(NewJob(kind="ping", payload={"seconds": 0}, owner="ana", priority="batch"))
        wakeups.submit(job)
        wait_until(lambda: ledger.get(job.id).final or worker.poll() is not None, "the job did not end", 60)
        assert worker.poll() is None, "the worker ended"
        assert ledger.get(job.id).state == "succeeded"
        wait_until(lambda: redis_client.hlen("unacked") == 0, "a message is kept")
        assert redis_client.llen("gpu.batch") == 0
        long = ledger.create(NewJob(kind="ping", payload={"seconds": 60}, owner="ana", priority="batch"))
        wakeups.submit(long)
        wait_until(lambda: ledger.get(long.id).state == "running", "the job did not begin", 60)
        worker.terminate()
        worker.wait(60)
    after = ledger.get(long.id)
    assert (after.state, after.slices) == ("queued", 1), "it was killed and did not give way"
    ledger.engine.dispose()


def test_a_second_worker_of_one_name_or_on_one_card_is_refused_unless_it_is_meant(settings: Settings) -> None:
    command = [sys.executable, "-m", "celery", "-A", "milo.queue", "worker", "-Q", "gpu.batch"]
    pipes: Any = {"cwd": ROOT, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    with celery_worker(settings, "gpu.batch") as first:
        node = psutil.Process(first.pid).environ()["MILO_WORKER_NODE"]
        twin_env = environment(settings, MILO_WORKER_NODE=node)
        twin = subprocess.Popen([*command, "-n", "twin@%h"], env=twin_env, **pipes)
        other = subprocess.Popen([*command, "-n", "other@%h"], env=environment(settings), **pipes)
        said = [refused.communicate(timeout=90)[1] for refused in (twin, other)]
        assert (twin.returncode, other.returncode) == (1, 1)
        assert f"a worker named {node} runs already" in said[0]
        assert "another GPU worker runs already on device" in said[1]
        with celery_worker(settings.model_copy(update={"share_card": True}), "gpu.batch"):
            assert first.poll() is None


def test_gauges_of_a_killed_process_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    host = socket.gethostname()
    dead, counter = f"gauge_livesum_{host}-{gone.pid}.db", f"counter_{host}-{gone.pid}.db"
    kept = {counter, f"gauge_livesum_{host}-{os.getpid()}.db", f"gauge_livesum_another-{gone.pid}.db"}
    for name in {dead} | kept:
        (tmp_path / name).touch()
    metrics.forget_dead()
    assert {path.name for path in tmp_path.iterdir()} == kept
