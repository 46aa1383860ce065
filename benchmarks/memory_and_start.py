"""Resident memory of each process of a running stack, idle and after work, and the start-up time of `milo --help`.

python -m benchmarks.memory_and_start
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.common import machine, running_stack, save
from milo.client import Milo
from milo.stack.up import note_of

SAMPLES = Path("samples")
RUNS = 11


def memory_mb(pid: int) -> dict[str, float]:
    """Resident megabytes (10^6) of each process below the supervisor, by what it runs."""
    found: dict[str, float] = {}
    for process in psutil.Process(pid).children(recursive=True):
        words = process.cmdline()
        node = next((word.split("@")[0] for word in words if "@%h" in word or "@" in word), "")
        parent = next((word.split("@")[0] for word in process.parent().cmdline() if "@" in word), "")
        name = f"{node} worker" if node else f"{parent} child" if parent else _name(words)
        found[name] = round(found.get(name, 0) + process.memory_info().rss / 1e6, 1)
    return found


def _name(words: list[str]) -> str:
    line = " ".join(words)
    known = ("redis-server", "api.app", "api.status.monitor", "flower", "beat", "resource_tracker")
    return next((name for name in known if name in line), words[0].rsplit("/", 1)[-1] if words else "?")


def start_ms(*command: str) -> float:
    """Median wall time of a command, in ms."""
    times = []
    for _ in range(RUNS):
        started = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
        times.append((time.perf_counter() - started) * 1000)
    return round(statistics.median(times), 1)


def main() -> None:
    report: dict[str, Any] = {"machine": machine()}
    report["milo_help_ms"] = start_ms("-m", "milo.cli", "--help")
    report["python_alone_ms"] = start_ms("-c", "pass")
    with tempfile.TemporaryDirectory() as home, running_stack(Path(home), [SAMPLES.resolve()]) as settings:
        note = note_of(settings)
        assert note is not None
        report["idle_mb"] = memory_mb(note["pid"])
        with Milo(settings.url, settings.api_key) as milo:
            milo.transcribe(next(iter(sorted(SAMPLES.glob("20-*")))))
        report["after_work_mb"] = memory_mb(note["pid"])
    print(json.dumps({name: value for name, value in report.items() if name != "machine"}, indent=2))
    save("memory_and_start", report)


if __name__ == "__main__":
    main()
