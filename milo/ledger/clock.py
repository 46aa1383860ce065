"""Tells when somebody has set the clock: leases are unix seconds, and a step of it makes them end early or never.

Elapsed time (`time.monotonic`) does not step, so the difference of the two only changes when the clock does, or when
the machine was asleep, which to a lease is the same. All processes of a machine share both clocks, and a file with
what they have seen: one that slept through a step and its correction would think that valid leases had ended.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

STEP_S = 2.0
"""Smaller ones are the work of NTP, and no lease is that short."""
DRIFT_S = 0.2
"""The note is written again when the clock has drifted by this."""
NEVER = float("-inf")


class ClockSteps:
    """Remembers the last step of the clock. `note` is the file that the processes of this machine share."""

    def __init__(
        self,
        note: Path | None = None,
        wall: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._note, self._wall, self._elapsed = note, wall, elapsed
        self._seen = (wall() - elapsed(), NEVER)

    def within(self, seconds: float) -> bool:
        """Whether a step was seen in the last `seconds` of elapsed time; looks for a new one first."""
        now = self._elapsed()
        offset = self._wall() - now
        last_offset, stepped_at = self._recall()
        moved = abs(offset - last_offset)
        if moved > STEP_S:
            stepped_at = now
        if moved > DRIFT_S:
            self._remember(offset, stepped_at)
        return 0 <= now - stepped_at < seconds

    def _recall(self) -> tuple[float, float]:
        if self._note is None:
            return self._seen
        try:
            offset, stepped_at = self._note.read_text().split()
            return float(offset), float(stepped_at)
        except (OSError, ValueError):
            self._remember(*self._seen)
            return self._seen

    def _remember(self, offset: float, stepped_at: float) -> None:
        self._seen = (offset, stepped_at)
        if self._note is None:
            return
        fresh = self._note.with_suffix(f".{os.getpid()}")
        with contextlib.suppress(OSError):
            self._note.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(f"{offset} {stepped_at}")
            os.replace(fresh, self._note)
