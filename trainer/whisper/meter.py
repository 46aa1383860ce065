"""How fast a Whisper training goes: audio a second, padding, seconds a step; by a clock that stands still with it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

RECENT = 20
"""Logged steps whose median is the speed."""


class Meter:
    """Counts since it was last read."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._step_s: deque[float] = deque(maxlen=RECENT)
        self.restart()

    def restart(self) -> None:
        self._audio_s = self._padded_s = 0.0
        self._steps = 0
        self._since = self._clock()

    def count(self, micro_batches: Iterable[dict[str, Any]]) -> None:
        """One more step, of these micro-batches (`trainer.whisper.features.Batches.make`)."""
        for batch in micro_batches:
            self._audio_s += batch["audio_s"]
            self._padded_s += batch["padded_s"]
        self._steps += 1

    def read(self) -> dict[str, float]:
        """The metrics since it was last read."""
        took_s = max(self._clock() - self._since, 1e-9)
        metrics = {
            "perf/audio_s_per_s": round(self._audio_s / took_s, 3),
            "perf/padding_ratio": round(1 - self._audio_s / self._padded_s, 6) if self._padded_s else 0.0,
            "perf/step_s": round(took_s / max(1, self._steps), 6),
        }
        self._step_s.append(metrics["perf/step_s"])
        self.restart()
        return metrics

    @property
    def step_s(self) -> float | None:
        """Seconds a step: the median of the recent ones; None before the first."""
        if self._step_s:
            return sorted(self._step_s)[len(self._step_s) // 2]
        return (self._clock() - self._since) / self._steps if self._steps else None
