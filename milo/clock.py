"""Tells when somebody has set the clock: leases are unix seconds, and a step of it makes them end early or never.

Elapsed time (`time.monotonic`) does not step, so the difference of the two only changes when the clock does, or when
the machine was asleep, which to a lease is the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable

STEP_S = 2.0
"""Smaller ones are the work of NTP, and no lease is that short."""


class Steps:
    """Remembers the last step of the clock that this process has seen."""

    def __init__(self, wall: Callable[[], float] = time.time, elapsed: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._elapsed = wall, elapsed
        self._offset = wall() - elapsed()
        self._seen_at: float | None = None

    def within(self, seconds: float) -> bool:
        """Whether a step was seen in the last `seconds` of elapsed time; looks for a new one first."""
        now = self._elapsed()
        offset = self._wall() - now
        if abs(offset - self._offset) > STEP_S:
            self._seen_at = now
        self._offset = offset
        return self._seen_at is not None and now - self._seen_at < seconds
