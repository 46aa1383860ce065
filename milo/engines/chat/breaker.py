"""A circuit breaker: after a few failures, a service that is away is left alone for a while.

closed: every call goes through. open: none does, until `open_s` is over. half_open: one call is let through as a
trial; its success closes the circuit, its failure opens it again. Knows nothing of what is called.
Pattern: M. Nygard, Release It!, chapter 5.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Literal

State = Literal["closed", "open", "half_open"]


class Breaker:
    """Counts consecutive failures. Safe to share between threads; each process has its own."""

    def __init__(self, *, failures: int = 3, open_s: float = 30, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = failures
        self._open_s = open_s
        self._clock = clock
        self._lock = threading.Lock()
        self._failed = 0
        self._until: float | None = None
        """When the open circuit becomes half open; None: closed."""
        self._trial_until: float | None = None
        """A trial that has not reported by then counts as lost, and another one may begin."""

    @property
    def state(self) -> State:
        with self._lock:
            if self._until is None:
                return "closed"
            return "open" if self._clock() < self._until else "half_open"

    def wait_s(self) -> float:
        """Seconds until a call may go through again; 0: now."""
        with self._lock:
            waits = [at for at in (self._until, self._trial_until) if at is not None]
            return max(0.0, max(waits) - self._clock()) if waits else 0.0

    def allow(self) -> bool:
        """Whether a call may go through. Whoever gets True reports `success`, `failure` or `release` afterwards."""
        with self._lock:
            if self._until is None:
                return True
            now = self._clock()
            if now < self._until or (self._trial_until is not None and now < self._trial_until):
                return False
            self._trial_until = now + self._open_s
            return True

    def success(self) -> None:
        with self._lock:
            self._failed, self._until, self._trial_until = 0, None, None

    def failure(self, open_s: float | None = None) -> None:
        """One more failure. With `open_s`, the circuit opens at once, for that long (the service said so)."""
        with self._lock:
            self._failed += 1
            if open_s is not None or self._until is not None or self._failed >= self._limit:
                until = self._clock() + (self._open_s if open_s is None else open_s)
                self._until = until if self._until is None else max(self._until, until)
                self._trial_until = None

    def release(self) -> None:
        """The call ended without saying anything of the service (it was cancelled)."""
        with self._lock:
            self._trial_until = None
