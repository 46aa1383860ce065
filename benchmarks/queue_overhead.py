"""The queue's own cost: accept to result with work that does nothing, Milo against bare Celery, in one run.

    python -m benchmarks.queue_overhead [--jobs 600]

Bare Celery: `apply_async` to `get`, Redis as broker and result backend, one worker child. Milo, twice:
`ledger` is what the API does for a job, called in this process (row on disk, message, wait for the wake-up, read the
row); `http` is the whole way of a client: POST /api/v1/jobs, then GET with `wait`. Milo's rows are durable, bare
Celery's results are not. The ways take turns, so that whatever else the machine does meets all of them; a budget that
is missed makes the exit status 1.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import redis

from benchmarks.common import machine, running_stack, save
from milo.jobs import NewJob
from milo.ledger import Ledger
from milo.queue.events import CHANNEL
from milo.settings import Settings

Call = Callable[[], None]
ROUNDS = 4
"""The ways take turns so often."""
HTTP_MORE_MS = 8.0
AT_LEAST_PER_S = {"ledger": 250.0, "http": 150.0}
"""Jobs a second with 32 in flight, the client in the same cores."""


@contextmanager
def bare_celery(redis_url: str) -> Iterator[Any]:
    """The app of `bare_celery.py` with one worker that answers."""
    env = os.environ | {"BARE_REDIS_URL": redis_url}
    command = [sys.executable, "-m", "celery", "-A", "benchmarks.bare_celery", "worker", "-c", "1", "-l", "ERROR"]
    with tempfile.TemporaryFile() as log:
        worker = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        os.environ["BARE_REDIS_URL"] = redis_url
        bare = importlib.import_module("benchmarks.bare_celery")  # now: it reads its broker from the environment
        try:
            bare.ping.apply_async(({"seconds": 0},)).get(timeout=60)
            yield bare
        finally:
            worker.terminate()
            worker.wait()


class Waiter:
    """Wakes threads that wait for a job, as the API's hub does."""

    def __init__(self, url: str) -> None:
        self._events: dict[str, threading.Event] = {}
        self._pubsub = redis.Redis.from_url(url).pubsub()  # type: ignore[no-untyped-call]
        self._pubsub.subscribe(CHANNEL)
        self._ended = False
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def watch(self, job_id: str) -> threading.Event:
        return self._events.setdefault(job_id, threading.Event())

    def close(self) -> None:
        """Before Redis ends."""
        self._ended = True
        self._thread.join()
        self._pubsub.close()

    def _listen(self) -> None:
        while not self._ended:
            message = self._pubsub.get_message(timeout=0.5)
            if message and message["type"] == "message":
                for name in message["data"].decode().split():
                    if name in self._events:
                        self._events[name].set()


@contextmanager
def in_process(settings: Settings) -> Iterator[Call]:
    """One job by the ledger and the queue, without HTTP."""
    from milo.queue import events, wakeups
    from milo.queue.celery import configure

    configure(settings)
    ledger = Ledger.open(settings, events.publisher(settings))
    waiter = Waiter(settings.redis_url)
    new = NewJob(kind="ping", payload={"seconds": 0}, owner="benchmark", priority="realtime")

    def call() -> None:
        job = ledger.create(new)
        event = waiter.watch(job.id)
        wakeups.submit(job)
        while not ledger.get(job.id).final:
            event.wait(1)
            event.clear()

    try:
        yield call
    finally:
        waiter.close()
        ledger.engine.dispose()


def over_http(settings: Settings) -> Call:
    """One job as a client sends it."""
    headers = {"authorization": f"Bearer {settings.api_key}"}
    client = httpx.Client(base_url=settings.url, headers=headers, timeout=60, limits=httpx.Limits(max_connections=64))
    body = {"kind": "ping", "payload": {"seconds": 0}, "priority": "realtime"}

    def call() -> None:
        accepted = client.post("/api/v1/jobs", json=body)
        accepted.raise_for_status()
        ended = client.get(f"/api/v1/jobs/{accepted.json()['id']}", params={"wait": 30})
        assert ended.json()["state"] == "succeeded", ended.text

    return call


def timed(call: Call, jobs: int, in_flight: int) -> tuple[list[float], float]:
    """Milliseconds of each of so many jobs, and the seconds of all."""
    times: list[float] = []

    def one(_: int) -> None:
        started = time.perf_counter()
        call()
        times.append((time.perf_counter() - started) * 1000)

    started = time.perf_counter()
    with ThreadPoolExecutor(in_flight) as pool:
        list(pool.map(one, range(jobs)))
    return times, time.perf_counter() - started


def measure(ways: dict[str, Call], jobs: int, in_flight: int) -> dict[str, dict[str, float]]:
    """Latency percentiles in ms and jobs a second of each way, measured in turns."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    wall_s = dict.fromkeys(ways, 0.0)
    for call in ways.values():
        timed(call, max(20, 2 * in_flight), in_flight)
    for _ in range(ROUNDS):
        for name, call in ways.items():
            more, took_s = timed(call, max(in_flight, jobs // ROUNDS), in_flight)
            times[name] += more
            wall_s[name] += took_s
    report = {}
    for name, row in times.items():
        cuts = statistics.quantiles(row, n=100)
        pace = round(len(row) / wall_s[name], 1)
        report[name] = {"p50_ms": round(cuts[49], 2), "p99_ms": round(cuts[98], 2), "jobs_per_s": pace}
    return report


def drain(settings: Settings, bare: Any, jobs: int) -> dict[str, float]:
    """Jobs a second with everything submitted at once, by one submitter: the worker's own pace, submit included."""
    from milo.queue import events, wakeups

    ledger = Ledger.open(settings, events.publisher(settings))
    new = NewJob(kind="ping", payload={"seconds": 0}, owner="benchmark", priority="interactive")
    started = time.perf_counter()
    made = [ledger.create(new) for _ in range(jobs)]
    wakeups.submit_many(made)
    while any(state for states in ledger.counts().values() for state in states.values()):
        time.sleep(0.01)
    milo_s = time.perf_counter() - started
    started = time.perf_counter()
    results = [bare.ping.apply_async(({"seconds": 0},)) for _ in range(jobs)]
    for result in results:
        result.get(timeout=120)
    bare_s = time.perf_counter() - started
    return {"milo_jobs_per_s": round(jobs / milo_s, 1), "bare_jobs_per_s": round(jobs / bare_s, 1)}


def missed(report: dict[str, Any]) -> list[str]:
    """The budgets that were not met, each as a sentence."""
    found = []
    more_ms = report["http_1"]["p50_ms"] - report["bare_1"]["p50_ms"]
    if more_ms > HTTP_MORE_MS:
        found.append(f"http: one job takes bare Celery's p50 + {more_ms:.1f} ms, and the budget is {HTTP_MORE_MS:g} ms")
    for name, least in AT_LEAST_PER_S.items():
        pace = report[f"{name}_32"]["jobs_per_s"]
        if pace < least:
            found.append(f"{name}: {pace} jobs/s with 32 in flight, and the budget is {least:g}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=600)
    jobs = parser.parse_args().jobs
    report: dict[str, Any] = {"machine": machine(), "load_before": os.getloadavg()}
    with tempfile.TemporaryDirectory() as folder, running_stack(Path(folder)) as settings:
        bare_url = settings.redis_url.rsplit("/", 1)[0] + "/7"
        with bare_celery(bare_url) as bare, in_process(settings) as ledger:
            ways: dict[str, Call] = {
                "bare": lambda: bare.ping.apply_async(({"seconds": 0},)).get(timeout=60),
                "ledger": ledger,
                "http": over_http(settings),
            }
            for in_flight in (1, 32):
                for name, found in measure(ways, jobs, in_flight).items():
                    report[f"{name}_{in_flight}"] = found
                    print(f"{name:7} {in_flight:3} in flight: {json.dumps(found)}", flush=True)
            report["drain"] = drain(settings, bare, jobs * 3)
            print(f"drain of {jobs * 3}: {json.dumps(report['drain'])}")
    report["missed"] = missed(report)
    save("queue_overhead", report)
    if report["missed"]:
        raise SystemExit("\n".join(report["missed"]))


if __name__ == "__main__":
    main()
