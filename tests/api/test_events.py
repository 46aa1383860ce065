"""Server-sent events of jobs and batches."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from milo.jobs import Progress
from milo.ledger import Ledger
from tests.api.conftest import finish, transcript
from tests.support.servers import wait_until


def events(answer: httpx.Response) -> Iterator[tuple[str, str, Any]]:
    """`(event, id, data)` of each event, as the stream brings them."""
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
        elif not line and "data" in fields:
            yield fields["event"], fields["id"], json.loads(fields["data"])
            fields = {}


@pytest.fixture
def job_id(client: httpx.Client) -> str:
    found: str = client.post("/jobs", json={"kind": "ping"}).json()["id"]
    return found


def test_a_job_is_watched_to_its_end(client: httpx.Client, ledger: Ledger, job_id: str) -> None:
    seen: list[tuple[str, Any]] = []
    with client.stream("GET", f"/jobs/{job_id}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        for event, version, job in events(answer):
            assert event == "job" and version == str(job["version"])
            seen.append((job["state"], job["progress"]["done"]))
            if job["state"] == "queued":
                claim = ledger.claim(job_id, "test-worker")
            elif job["state"] == "running" and job["progress"]["done"] == 0:
                assert claim
                ledger.renew([claim], {job_id: Progress(done=5, total=10)})
            elif job["state"] == "running":
                assert claim
                ledger.finish(claim, {"pong": True})
    assert seen == [("queued", 0), ("running", 0), ("running", 5), ("succeeded", 5)]


def test_a_stream_goes_on_where_it_was_cut(client: httpx.Client, ledger: Ledger, job_id: str) -> None:
    version = client.get(f"/jobs/{job_id}").json()["version"]
    timer = threading.Timer(0.3, finish, (ledger, job_id, {"pong": True}))
    timer.start()
    with client.stream("GET", f"/jobs/{job_id}/events", headers={"Last-Event-ID": str(version)}) as answer:
        states = [job["state"] for _, _, job in events(answer)]
    timer.join()
    assert "queued" not in states and states[-1] == "succeeded"


def test_a_client_that_saw_the_end_is_told_to_stop(client: httpx.Client, ledger: Ledger, job_id: str) -> None:
    last = str(finish(ledger, job_id, {"pong": True}).version)
    assert client.get(f"/jobs/{job_id}/events", headers={"Last-Event-ID": last}).status_code == 204
    for junk in ("-1", "x", "9" * 50, ""):
        answer = client.get(f"/jobs/{job_id}/events", headers={"Last-Event-ID": junk})
        assert [job["state"] for _, _, job in events(answer)] == ["succeeded"]


def test_a_batch_is_watched_to_its_end(client: httpx.Client, ledger: Ledger, archive: Path) -> None:
    for number in range(3):
        (archive / f"{number}.wav").write_bytes(b"RIFF")
    batch_id = client.post("/batches", json={"paths": [str(archive)]}).json()["id"]
    jobs = client.get(f"/batches/{batch_id}/jobs").json()["items"]
    states: list[tuple[str, int]] = []
    with client.stream("GET", f"/batches/{batch_id}/events") as answer:
        for event, version, batch in events(answer):
            assert event == "batch" and version == str(batch["version"])
            states.append((batch["state"], batch["progress"]["done"]))
            if jobs:
                finish(ledger, jobs.pop(0)["id"], transcript("eny"))
    assert states[0] == ("queued", 0) and states[-1] == ("succeeded", 3)
    assert [done for _, done in states] == sorted(done for _, done in states)
    last = client.get(f"/batches/{batch_id}").json()["version"]
    assert client.get(f"/batches/{batch_id}/events", headers={"Last-Event-ID": str(last)}).status_code == 204


def test_watchers_that_leave_are_forgotten(url: str, client: httpx.Client, job_id: str) -> None:
    for _ in range(3):
        with client.stream("GET", f"/jobs/{job_id}/events") as answer:
            next(events(answer))
    hub = _hub()
    wait_until(lambda: not hub._waiters, "the hub still holds waiters")


def _hub() -> Any:
    """The hub of the only server that runs in this process."""
    import gc

    from milo.queue.events import WakeUps

    return next(one for one in gc.get_objects() if isinstance(one, WakeUps) and one._task and not one._task.done())
