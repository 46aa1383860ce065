"""Keeps a list of processes running on this machine: starts, waits, prefixes logs, restarts with back-off, stops.

Knows nothing of Milo's own: what to run stands in `milo/stack/services.py`. One thread runs it all, the one that called
`Supervisor.start`; further threads only copy the children's output.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from milo.errors import Unavailable
from milo.settings import Settings
from milo.stack.reaper import Reaper
from milo.stack.redis_server import find_redis_server
from milo.stack.services import Running, Service
from milo.terminal import visible

BACKOFF_S = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
HEALTHY_AFTER_S = 15.0
"""What was ready and lived this long did not die of its start, and comes back at once; back-off is for what does."""
READY_BACKOFF_S = 4.0
"""The longest pause for what was ready when it died, however often: its jobs are promised back in the lease and 5 s."""
LOG_BYTES = 10 * 1024**2
LINE_BYTES = 16 * 1024
ORPHAN_S = 6.0
"""What is left of `Service.stop_s` when the supervisor itself was killed."""
Say = Callable[[str, str], None]
"""Shows one line of one service to the person at the terminal."""


class Child:
    """A service and the process that runs it at present."""

    def __init__(
        self,
        service: Service,
        command: Sequence[str],
        env: Mapping[str, str],
        log: Path,
        say: Say,
        reaper: Reaper,
    ) -> None:
        self.service = service
        self._reaper = reaper
        self.tail: deque[str] = deque(maxlen=15)
        self.process: subprocess.Popen[bytes] | None = None
        self.started_at = 0.0
        """Unix seconds; `born` and `restart_at` are on the monotonic clock, which nobody sets."""
        self.born = 0.0
        self.restart_at: float | None = None
        self.is_ready = False
        self.failures = 0
        self._command, self._env, self._say = list(command), dict(env), say
        log.parent.mkdir(parents=True, exist_ok=True)
        self._file = logging.handlers.RotatingFileHandler(log, maxBytes=LOG_BYTES, backupCount=2, encoding="utf-8")
        self._file.handleError = lambda record: None  # type: ignore[method-assign]  # a full disk; the person sees the line

    def start(self) -> None:
        """Start the process in a session of its own, so that Ctrl-C reaches the supervisor alone."""
        self.restart_at, self.is_ready = None, False
        self.started_at, self.born = time.time(), time.monotonic()
        self.process = subprocess.Popen(
            self._command,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o077,
        )
        self._reaper.watch(self.process.pid, self.service.stop_rank, ORPHAN_S)
        assert self.process.stdout is not None
        threading.Thread(target=self._copy, args=(self.process.stdout,), name=self.service.name, daemon=True).start()

    def _copy(self, pipe: IO[bytes]) -> None:
        with pipe:
            for raw in iter(lambda: pipe.readline(LINE_BYTES), b""):
                line = visible(raw.decode("utf-8", "replace").rstrip(), one_line=True)
                self.tail.append(line)
                self._write(line)
                self._say(self.service.name, line)

    def _write(self, line: str) -> None:
        self._file.handle(logging.LogRecord("", logging.INFO, "", 0, "%s", (line,), None))

    def note(self, line: str) -> None:
        """Something about the process, into its log and to the person."""
        self._write(f"--- {line}")
        self._say(self.service.name, line)

    def ended(self) -> str | None:
        """How the process ended, in words; None while it runs or was never started."""
        code = self.process.poll() if self.process else None
        if code is None:
            return None
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    def ask_to_stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def finish_off(self) -> None:
        """Kill the process and what it left behind: that would hold its files and its memory."""
        if self.process:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self._reaper.forget(self.process.pid)


class Supervisor:
    """Runs `services`. `env` holds what all of them get beside their own."""

    def __init__(
        self, services: Sequence[Service], settings: Settings, env: Mapping[str, str], say: Say, stop: threading.Event
    ) -> None:
        self.settings = settings
        self._say, self._stop = say, stop
        self._reaper = Reaper()
        self.children = [self._child(service, env) for service in services]

    def _child(self, service: Service, env: Mapping[str, str]) -> Child:
        command = (*program(service.command[0]), *service.command[1:])
        log = self.settings.home / "logs" / f"{service.name}.log"
        return Child(service, command, {**env, **service.env}, log, self._say, self._reaper)

    def start(self, names: Sequence[str]) -> None:
        """Start these and wait until each is ready. Raises `Unavailable` with the culprit's last lines."""
        waiting = [child for child in self.children if child.service.name in names]
        for child in waiting:
            if not self._stop.is_set():
                child.start()
        while waiting and not self._stop.is_set():
            waiting = [child for child in waiting if not self._look(child)]
            self._stop.wait(0.05)

    def _look(self, child: Child) -> bool:
        how = child.ended()
        if how:
            time.sleep(0.2)  # the last lines are still on their way through the pipe
            raise Unavailable(_culprit(child, f"{child.service.name} {how} before it was ready"))
        if time.monotonic() - child.born > child.service.ready_s:
            raise Unavailable(_culprit(child, f"{child.service.name} was not ready in {child.service.ready_s:.0f} s"))
        return self._is_ready(child)

    def _is_ready(self, child: Child) -> bool:
        if not child.is_ready and child.process:
            child.is_ready = child.service.ready(Running(self.settings, child.process.pid, child.started_at))
        return child.is_ready

    def watch(self) -> None:
        """Restart what dies, until `stop` is set."""
        while not self._stop.wait(0.1):
            for child in self.children:
                self._mend(child)

    def _mend(self, child: Child) -> None:
        now = time.monotonic()
        if child.restart_at is not None:
            if now >= child.restart_at:
                child.start()
            return
        how = child.ended()
        if how is None:
            if not child.is_ready and self._is_ready(child) and child.failures:
                child.note("is back")
            if child.failures and _was_healthy(child, now):
                child.failures = 0
            return
        child.finish_off()
        if _was_healthy(child, now):
            child.failures = 0
        wait_s = BACKOFF_S[min(child.failures, len(BACKOFF_S) - 1)]
        if child.is_ready:
            wait_s = min(wait_s, READY_BACKOFF_S)
        child.failures += 1
        child.restart_at = now + wait_s
        child.note(f"{how}; starts again in {wait_s:.0f} s")

    def stop(self, hurry: threading.Event) -> None:
        """End all: rank by rank, SIGTERM, then SIGKILL for what is left after its time, or at once on `hurry`."""
        for rank in sorted({child.service.stop_rank for child in self.children}):
            children = [child for child in self.children if child.service.stop_rank == rank]
            for child in children:
                child.ask_to_stop()
            asked_at = time.monotonic()
            while any(_alive(child, asked_at, hurry) for child in children):
                hurry.wait(0.05)
            for child in children:
                if child.process and child.process.poll() is None:
                    child.note("did not end in time and is killed")
                child.finish_off()
        self._reaper.close()


def _was_healthy(child: Child, now: float) -> bool:
    return child.is_ready and now - child.born > HEALTHY_AFTER_S


def _alive(child: Child, asked_at: float, hurry: threading.Event) -> bool:
    if child.process is None or child.process.poll() is not None or hurry.is_set():
        return False
    return time.monotonic() - asked_at < child.service.stop_s


def _culprit(child: Child, what: str) -> str:
    lines = "".join(f"\n    {line}" for line in child.tail) or "\n    (nothing)"
    return f"{what}. Its last lines:{lines}"


def program(name: str) -> tuple[str, ...]:
    """How to start a program of a service on this machine. Raises `Unavailable` when there is no Redis."""
    if name == "redis-server":
        return (find_redis_server(),)
    return (sys.executable,) if name == "python" else (sys.executable, "-m", name)
