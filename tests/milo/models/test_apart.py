"""A process apart ends: by each limit, by its own crash, and when nobody wants its result."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from milo.errors import Cancelled
from milo.models.apart import Ended, Limits, as_long_as, run_apart
from tests.support.servers import wait_until

MB = 2**20


def run(code: str, cpu_s: float = 20, memory_bytes: int = 200 * MB) -> Ended:
    env = {"PATH": os.environ["PATH"]}
    return run_apart([sys.executable, "-c", code], env, Limits(cpu_s, memory_bytes, MB), b"given")


def test_what_ends_by_itself_says_how() -> None:
    ended = run("import sys; print(sys.stdin.read()); print('x', file=sys.stderr); sys.exit(3)")
    assert (ended.code, ended.stdout, ended.stderr, ended.why) == (3, b"given\n", b"x\n", "")


def test_computing_without_end_is_ended() -> None:
    assert run("while True: pass", cpu_s=1).why == "time"


def test_sleeping_without_end_is_ended() -> None:
    assert run("import time; time.sleep(600)", cpu_s=0.1).why == "time"


def test_a_bomb_is_ended() -> None:
    assert run("x = 'x' * 3_000_000_000").why == "memory"


def test_a_crash_is_told_from_a_limit() -> None:
    assert run("import os; os.abort()").why == "crash"


def test_what_nobody_wants_ends_at_once_with_all_that_it_started(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = "import subprocess, time; p = subprocess.Popen(['sleep', '600']); "
    code += f"open({str(note)!r}, 'w').write(str(p.pid))"
    started = time.monotonic()
    with as_long_as(lambda: not (note.exists() and note.read_text())), pytest.raises(Cancelled):
        run(code + "; time.sleep(600)")
    assert time.monotonic() - started < 30
    pid = int(note.read_text())
    wait_until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, "it runs on")
