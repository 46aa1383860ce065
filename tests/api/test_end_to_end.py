"""Through everything: HTTP, ledger, Redis, Celery, a real GPU worker process, and back."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from milo.settings import Settings
from tests.support.servers import celery_worker

QUEUES = "gpu.realtime,gpu.interactive,gpu.batch,gpu.background"


@pytest.fixture
def worker(settings: Settings) -> Iterator[None]:
    with celery_worker(settings, QUEUES):
        yield


@pytest.mark.timeout(150)
def test_a_ping_goes_all_the_way(worker: None, client: httpx.Client) -> None:
    made = [client.post("/jobs", json={"kind": "ping", "priority": one}).json() for one in ("realtime", "batch")]
    for job in made:
        done = client.get(f"/jobs/{job['id']}?wait=60", timeout=90).json()
        assert done["state"] == "succeeded" and done["result"] == {"pong": True}
        assert done["started_at"] >= done["created_at"] and done["finished_at"] >= done["started_at"]
    running = client.post("/jobs", json={"kind": "ping", "payload": {"seconds": 60}}).json()
    with client.stream("GET", f"/jobs/{running['id']}/events", timeout=60) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: ") and '"running"' in line:
                break
    assert client.delete(f"/jobs/{running['id']}").status_code == 202
    assert client.get(f"/jobs/{running['id']}?wait=60", timeout=90).json()["state"] == "cancelled"
    assert "gpu.batch" not in client.get("/health").json()["checks"]["workers"]["detail"].split("serves")[-1]
