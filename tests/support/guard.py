"""Ends what a test run leaves behind when it is killed: no fixture's `finally` runs after SIGTERM or SIGKILL.

A second, tiny process holds the reading end of a pipe whose writing end is the test run's. When the pipe closes, every
process of the run gets SIGTERM, a few seconds, and SIGKILL: also one in a session of its own, or one whose parent has
gone. Such a process carries the run's folder in its environment, or works inside it (Redis and PostgreSQL write their
title over their environment). Then the folder goes. xdist's workers belong to the run that started them. Reads /proc:
on anything but Linux it does nothing.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

VARIABLE = "TEST_RUN_FOLDER"
"""Not `MILO_…`: tests take those away from the processes that they start."""
GRACE_S = 3.0
KILL_S = 10.0


def guard_this_process() -> None:
    """From now on, what this process starts ends with it, and so does `run_folder()`."""
    folder = tempfile.mkdtemp(prefix="milo-tests-", dir="/tmp")
    os.chmod(folder, 0o711)  # PostgreSQL runs as another user
    command = [sys.executable, "-I", "-S", os.path.abspath(__file__), folder]
    quiet = subprocess.DEVNULL
    guard = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, start_new_session=True)
    guard.returncode = 0  # nobody waits for it: it outlives this process
    _guards.append(guard)
    os.environ[VARIABLE] = folder


_guards: list[subprocess.Popen[bytes]] = []
"""Keeps the pipe open."""


def run_folder() -> str | None:
    """Where servers of the tests keep their data; None, the system's temporary folder, outside of a test run."""
    return os.environ.get(VARIABLE)


def processes_of_run(folder: str) -> list[int]:
    """Every other process that was started with this folder in its environment, or whose working folder is in there."""
    numbers = [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]
    return [pid for pid in numbers if pid != os.getpid() and _belongs(pid, folder)]


def _belongs(pid: int, folder: str) -> bool:
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        return f"{VARIABLE}={folder}".encode() in variables or os.readlink(f"/proc/{pid}/cwd").startswith(folder)
    except OSError:  # it has ended, or is another user's
        return False


def _end_all(folder: str) -> None:
    began = time.monotonic()
    told: set[int] = set()
    while (left := processes_of_run(folder)) and time.monotonic() < began + KILL_S:
        late = time.monotonic() > began + GRACE_S
        for pid in left:
            if late or pid not in told:
                told.add(pid)
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
        time.sleep(0.05)


def _main(folder: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.read()
    _end_all(folder)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _main(sys.argv[1])
