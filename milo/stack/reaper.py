"""Ends processes whose parent was killed: no `finally` runs after SIGKILL, so somebody else has to be there.

A second, tiny process holds the reading end of a pipe. Its parent writes down whom it starts and who has ended; when
the pipe closes, the parent is gone, and whoever is still on the list gets SIGTERM, a few seconds, and SIGKILL, rank by
rank. The script imports nothing but the standard library: about 10 MB, and 30 ms to start.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress


class Reaper:
    """The parent's side. Everything it watches must lead a process group of its own."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", os.path.abspath(__file__)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def watch(self, pid: int, rank: int = 0, patience_s: float = 5) -> None:
        """End `pid` and its group if this process dies; lower ranks first."""
        self._write(f"+ {pid} {rank} {patience_s}\n")

    def forget(self, pid: int) -> None:
        """It has ended, and its number may soon be another's."""
        self._write(f"- {pid}\n")

    def close(self) -> None:
        """Whoever is still watched is ended now."""
        if self._process.stdin:
            with suppress(OSError):
                self._process.stdin.close()
        self._process.wait()

    def _write(self, line: str) -> None:
        if self._process.stdin:
            with suppress(OSError, ValueError):
                self._process.stdin.write(line.encode())
                self._process.stdin.flush()


def _main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    watched: dict[int, tuple[int, float]] = {}
    for line in sys.stdin:
        word, pid, *rest = line.split()
        if word == "+":
            watched[int(pid)] = (int(rest[0]), float(rest[1]))
        else:
            watched.pop(int(pid), None)
    for rank in sorted({rank for rank, _ in watched.values()}):
        _end({pid: patience_s for pid, (of, patience_s) in watched.items() if of == rank})


def _end(groups: dict[int, float]) -> None:
    for pid in groups:
        with suppress(OSError):
            os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + max(groups.values())
    while time.monotonic() < end and any(_exists(pid) for pid in groups):
        time.sleep(0.05)
    for pid in groups:
        with suppress(OSError):
            os.killpg(pid, signal.SIGKILL)


def _exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    _main()
