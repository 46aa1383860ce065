"""Runs the operator's command: JSON on its stdin, output bounded, its whole process group ended in time. No shell."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from milo.stack.reaper import Reaper

OUTPUT_BYTES = 64 * 1024
"""The end of the output that is kept; the rest is read and thrown away."""
PATIENCE_S = 5.0
"""Between SIGTERM and SIGKILL."""
ENVIRONMENT = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR")
"""All that the command gets of ours: none of Milo's settings, so none of its secrets."""


@dataclass(frozen=True)
class Outcome:
    """How the command ended."""

    exit_code: int | None
    """None: it never started, or it was killed; negative: the signal it died of."""
    output: str
    """The end of stdout and stderr together."""
    output_bytes: int
    duration_s: float
    ended: str
    """`exited`, `timed_out`, `stopped` (Milo was told to stop) or `not_started`."""


def run(words: list[str], stdin: bytes, folder: Path, timeout_s: float, stop: threading.Event) -> Outcome:
    """Run to the end, to the time limit, or until `stop` is set."""
    started = time.monotonic()
    try:
        process = subprocess.Popen(
            words,
            cwd=folder,
            env={name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return Outcome(None, f"{words[0]} can't be started: {error}", 0, 0.0, "not_started")
    reaper = Reaper()  # ends the group if this process is killed
    reaper.watch(process.pid, patience_s=PATIENCE_S)
    kept = _Tail()
    threads = [
        threading.Thread(target=_feed, args=(process.stdin, stdin), daemon=True),
        threading.Thread(target=kept.read, args=(process.stdout,), daemon=True),
    ]
    for thread in threads:
        thread.start()
    ended = _wait(process, started + timeout_s, stop)
    _end_group(process)
    reaper.forget(process.pid)
    reaper.close()
    for thread in threads:
        thread.join(1)  # something that left the group may still hold the pipe
    code = process.returncode if ended == "exited" else None
    return Outcome(code, kept.text(), kept.count, round(time.monotonic() - started, 3), ended)


def _wait(process: subprocess.Popen[bytes], deadline: float, stop: threading.Event) -> str:
    while process.poll() is None:
        if stop.is_set():
            return "stopped"
        if time.monotonic() >= deadline:
            return "timed_out"
        with suppress(subprocess.TimeoutExpired):
            process.wait(min(0.1, max(0.01, deadline - time.monotonic())))
    return "exited"


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Whatever is left of the group, the command itself or what it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE_S)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _feed(pipe: IO[bytes] | None, data: bytes) -> None:
    if pipe:
        with suppress(OSError, ValueError):  # it need not read
            pipe.write(data)
        with suppress(OSError, ValueError):
            pipe.close()


class _Tail:
    """The end of a stream, and how long it was."""

    def __init__(self) -> None:
        self.count = 0
        self._kept = bytearray()

    def read(self, pipe: IO[bytes] | None) -> None:
        while pipe and (chunk := os.read(pipe.fileno(), 65536)):
            self.count += len(chunk)
            self._kept += chunk
            del self._kept[:-OUTPUT_BYTES]

    def text(self) -> str:
        return bytes(self._kept).decode("utf-8", "replace")
