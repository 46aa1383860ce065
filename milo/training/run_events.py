"""What a run has written since somebody last looked: rows of metrics.jsonl and alerts.jsonl, in order of time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from milo.storage.json_lines import Row
from milo.training.runs import Run


@dataclass(frozen=True)
class Mark:
    """Up to where somebody has read. Rows that a training writes anew, after it went back, come after it."""

    metrics_s: float = 0.0
    """Time of the last metrics row read, unix seconds."""
    same: int = 0
    """Rows read that have exactly that time."""
    alerts: int = 0
    """Alerts read."""

    def __str__(self) -> str:
        return f"{self.metrics_s:.3f}-{self.same}-{self.alerts}"

    @classmethod
    def parse(cls, text: str) -> Mark:
        """What `str` made; the beginning for anything else."""
        try:
            metrics_s, same, alerts = text.split("-")
            return cls(float(metrics_s), int(same), int(alerts))
        except ValueError:
            return cls()


def rows_after(run: Run, mark: Mark) -> Iterator[tuple[str, Row, Mark]]:
    """(`metrics` or `alert`, row, the mark after it) for each row that comes after `mark`."""
    for number, row in enumerate(run.alerts()[mark.alerts :], mark.alerts + 1):
        mark = Mark(mark.metrics_s, mark.same, number)
        yield "alert", row, mark
    skip = mark.same
    for row in run.metrics():
        at = round(_time(row), 3)
        if at < mark.metrics_s:
            continue
        if at == mark.metrics_s and skip:
            skip -= 1
            continue
        mark = Mark(at, mark.same + 1 if at == mark.metrics_s else 1, mark.alerts)
        skip = 0
        yield "metrics", row, mark


def _time(row: Row) -> float:
    if isinstance(row.get("time"), (int, float)):
        return float(row["time"])
    try:
        return datetime.fromisoformat(str(row.get("at"))).timestamp()
    except ValueError:
        return 0.0
