"""Running a file of a stranger through a library in a process that can be ended: by limits of computing, memory and
time, and as soon as nobody wants the result any more.

Nothing else can end a library that is at work inside this process: it runs C code, and holds what it holds.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Literal

from milo.errors import Cancelled

POLL_S = 0.05
ASK_EVERY_S = 0.5
"""How often it is asked whether the result is still wanted."""
WALL_FACTOR = 5
"""A process may take so many times its CPU seconds: the disk may be slow, and the machine busy."""
TAIL_BYTES = 64 * 1024

_wanted: Callable[[], bool] = lambda: True  # noqa: E731


@contextmanager
def as_long_as(wanted: Callable[[], bool]) -> Iterator[None]:
    """Inside the `with`, processes apart are ended when `wanted` says no. One at a time in a process."""
    global _wanted
    before, _wanted = _wanted, wanted
    try:
        yield
    finally:
        _wanted = before


@dataclass(frozen=True)
class Limits:
    cpu_s: float
    memory_bytes: int
    """Of its own; what is mapped from files does not count."""
    file_bytes: int = 2**30
    """The largest file that it may write."""


@dataclass(frozen=True)
class Ended:
    """How it ended. `why`: which limit ended it, or `crash`; empty: it ended by itself, with `code`."""

    code: int
    stdout: bytes
    stderr: bytes
    why: Literal["", "time", "memory", "crash"] = ""


def run_apart(command: Sequence[str], env: Mapping[str, str], limits: Limits, stdin: bytes = b"") -> Ended:
    """Run a command under the limits. Raises `Cancelled` when its result is not wanted any more."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin)
        given.seek(0)
        process = subprocess.Popen(
            list(command), env=dict(env), stdin=given, stdout=out, stderr=err, start_new_session=True
        )
        try:
            _limit(process.pid, limits)
            in_time = _wait(process, limits.cpu_s * WALL_FACTOR)
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)  # what it started, too
            process.wait()
        ended = Ended(process.returncode, _tail(out), _tail(err))
    return Ended(ended.code, ended.stdout, ended.stderr, _why(ended, in_time))


def _limit(pid: int, limits: Limits) -> None:
    """Before the interpreter has started, and long before it opens what a stranger wrote."""
    cpu_s = max(1, round(limits.cpu_s))
    with suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
        resource.prlimit(pid, resource.RLIMIT_DATA, (limits.memory_bytes, limits.memory_bytes))
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (limits.file_bytes, limits.file_bytes))
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))


def _wait(process: subprocess.Popen[bytes], wall_s: float) -> bool:
    """Whether it ended in time."""
    started = asked = time.monotonic()
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(POLL_S)
            return True
        now = time.monotonic()
        if now - started > wall_s:
            return False
        if now - asked >= ASK_EVERY_S:
            asked = now
            if not _wanted():
                raise Cancelled("nobody waits for this model any more")


def _tail(file: IO[bytes]) -> bytes:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - TAIL_BYTES))
    return file.read()


def _why(ended: Ended, in_time: bool) -> Literal["", "time", "memory", "crash"]:
    if not in_time or -ended.code in (signal.SIGXCPU, signal.SIGKILL):
        return "time"
    said = ended.stderr[-4000:]
    if ended.code and any(word in said for word in (b"MemoryError", b"bad_alloc", b"not enough memory")):
        return "memory"
    return "crash" if ended.code < 0 else ""
