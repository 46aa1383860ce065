"""How long `/status` takes at 200 requests a second, on :5555 and under the API; and the memory of the status process.

python -m benchmarks.status_load [--rate 200] [--seconds 20]

Requests are sent at their times, whether or not earlier ones have been answered (open loop), and timed from the moment
they were due: a server that stops for a second makes a second's worth of requests late, and that is counted.
"""

from __future__ import annotations

import argparse
import http.client
import statistics
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from benchmarks.common import machine, running_stack, save
from milo.ledger import Ledger
from milo.settings import Settings
from milo.stack.up import note_of
from tests.milo.monitoring.conftest import new_training, run_of

CONNECTIONS = 20


def load(url: str, headers: dict[str, str], rate: float, seconds: float) -> list[float]:
    """Milliseconds of each request, from when it was due to its last byte."""
    at = urlsplit(url)
    mine = threading.local()  # a connection each; not httpx, which takes longer to ask than the server to answer

    def ask() -> None:
        if not hasattr(mine, "connection"):
            mine.connection = http.client.HTTPConnection(at.hostname or "", at.port, timeout=30)
        mine.connection.request("GET", at.path, headers=headers)
        answer = mine.connection.getresponse()
        assert answer.status == 200 and answer.read()

    def one(due: float) -> float:
        time.sleep(max(0.0, due - time.perf_counter()))
        ask()
        return (time.perf_counter() - due) * 1000

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(lambda _: ask(), range(CONNECTIONS)))
        start = time.perf_counter() + 0.1
        return list(pool.map(one, (start + number / rate for number in range(int(rate * seconds)))))


def figures(times_ms: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(times_ms, n=1000, method="inclusive")
    return {"p50_ms": round(cuts[499], 2), "p99_ms": round(cuts[989], 2), "max_ms": round(max(times_ms), 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--seconds", type=float, default=20)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running_stack(Path(folder)) as settings:
        _training(settings)
        note = note_of(settings) or {}
        key = {"Authorization": f"Bearer {settings.api_key}"}
        result: dict[str, Any] = {"machine": machine(), "rate": asked.rate, "seconds": asked.seconds}
        for name, url, headers in (("status", note["status_url"], {}), ("api", f"{note['url']}/status", key)):
            result[name] = figures(load(url, headers, asked.rate, asked.seconds))
            print(name, result[name])
        result["status_process_mb"] = _memory_mb(int(note["pid"]))
        print("status process", result["status_process_mb"], "MB")
    save("status_load", result)


def _training(settings: Settings) -> None:
    """A run of usual length to tell of, and a job that waits."""
    job = new_training(Ledger.open(settings))
    run_of(settings, job, 1774)


def _memory_mb(supervisor: int) -> float:
    for process in psutil.Process(supervisor).children(recursive=True):
        if "api.status.monitor:app" in process.cmdline():
            return round(process.memory_info().rss / 1e6, 1)
    return 0.0


if __name__ == "__main__":
    main()
