"""What a training says after every optimizer step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One optimizer step is done. `metrics` are those logged at it (named as in metrics.jsonl), or None."""

    step: int
    """Counts from 1; goes on where the last good checkpoint left off."""
    total: int
    metrics: dict[str, float] | None = None
