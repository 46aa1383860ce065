"""What is mended while a training runs: losses that are no numbers, spikes, memory that is too small.

Each fix is recorded in alerts.jsonl, and in fixes.json what the training must remember of it. At most `MOST` of a kind.
Figures: skip one bad batch, three in a row go back (as in the OPT logbook, https://arxiv.org/abs/2205.01068).
"""

from __future__ import annotations

import json
import math
import statistics
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from milo.errors import MiloError
from milo.models.files import write_durably
from milo.training.runs import Run

MOST = 3
"""Fixes of one kind before a training fails."""
IN_A_ROW = 3
WORSE = 1.5
"""A training whose last losses are this many times the one before it has failed."""
SPIKE = 5.0
"""A loss this many times the rolling median is a spike."""
LEAST_FIRST = 1.0
"""A model that begins with a smaller loss than this is compared with this: small losses vary much."""
WINDOW, FEWEST = 50, 20
"""Steps of the rolling median, and how many it needs."""


class RollBack(BaseException):
    """The training goes back to its last good checkpoint. Not an Exception, so that nothing on the way catches it."""


@dataclass
class Fixes:
    """What earlier fixes of this run have changed; survives the process."""

    run: Run
    halved_at: list[int] = field(default_factory=list)
    """From each of these steps on, the learning rate is half of what it was."""
    splits: int = 1
    """Parts that a planned micro-batch is computed in."""
    counts: dict[str, int] = field(default_factory=dict)
    first_loss: float | None = None
    """Of the run's first step, which is computed before any weight changes: the loss before training."""

    @classmethod
    def of(cls, run: Run) -> Fixes:
        try:
            kept = json.loads((run.path / "fixes.json").read_text(encoding="utf-8"))
            return cls(run, list(kept["halved_at"]), int(kept["splits"]), dict(kept["counts"]), kept.get("first_loss"))
        except (OSError, ValueError, KeyError, TypeError):
            return cls(run)

    def save(self) -> None:
        document: dict[str, Any] = {"halved_at": self.halved_at, "splits": self.splits, "counts": self.counts}
        document["first_loss"] = self.first_loss
        write_durably(self.run.path / "fixes.json", json.dumps(document))

    def rate(self, step: int) -> float:
        """The factor of the learning rate at a step (from 0)."""
        return float(0.5 ** sum(1 for at in self.halved_at if step >= at))

    def count(self, kind: str, seen: str) -> None:
        """One more of a kind. Raises `MiloError` when there were `MOST` already."""
        if self.counts.get(kind, 0) >= MOST:
            raise MiloError(
                f"{seen}, and that was mended {MOST} times already; look at alerts.jsonl of run {self.run.id}, then"
                " lower the learning rate or the batch, or mend the data",
                code=f"training_{kind}",
            )
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.save()

    def split_more(self, step: int, detail: str) -> None:
        """The card's memory is too small: half the micro-batch, twice the accumulation."""
        self.count("out_of_memory", f"out of memory at step {step}")
        self.splits *= 2
        self.save()
        done = f"each micro-batch is computed in {self.splits} parts, the update stays the same"
        self.run.alert("out_of_memory", detail, done, step)


class LossGuard:
    """Looks at the loss of each step. `losses` are the recent ones, kept in checkpoints."""

    def __init__(self, fixes: Fixes, losses: list[float], good_step: int, keep: int = WINDOW) -> None:
        self.fixes = fixes
        self.losses: deque[float] = deque(losses, maxlen=max(WINDOW, keep))
        self.good_step = good_step
        """Of the checkpoint that a roll-back goes to."""
        self._bad: list[list[str]] = []
        self._high: list[list[str]] = []

    def check(self, step: int, loss: float, ids: list[str]) -> None:
        """Raises `RollBack` for the third bad step in a row, `MiloError` when that was mended too often."""
        if not math.isfinite(loss):
            self._bad.append(ids)
            self.fixes.run.alert("nan", f"the loss of step {step} is {loss}", "skipped the batch", step, ids=ids)
            if len(self._bad) >= IN_A_ROW:
                self._back(
                    "nan", f"the loss was no number for {IN_A_ROW} steps, the last of them {step}", step, self._bad
                )
            return
        self._bad.clear()
        before = list(self.losses)[-WINDOW:]
        self.losses.append(loss)
        if self.fixes.first_loss is None:
            self.fixes.first_loss = loss
            self.fixes.save()
        median = statistics.median(before) if len(before) >= FEWEST else math.inf
        first = max(abs(self.fixes.first_loss), LEAST_FIRST)
        if loss <= SPIKE * min(median, first):
            self._high.clear()
            return
        self._high.append(ids)
        if len(self._high) >= IN_A_ROW:
            usual = f"its median of {median:.3g}" if median <= first else f"the {first:.3g} before training"
            seen = f"the loss was over {SPIKE:g} times {usual} for {IN_A_ROW} steps up to {step}"
            self._back("spike", seen, step, self._high)

    def check_end(self) -> None:
        """Raises `MiloError` when the last losses are well above the one before training: every trainer asks at its
        end, also when it is started again after it."""
        recent = [loss for loss in list(self.losses)[-IN_A_ROW:] if math.isfinite(loss)]
        first = self.fixes.first_loss
        if first is None or not recent or statistics.fmean(recent) <= WORSE * max(abs(first), LEAST_FIRST):
            return
        seen = f"the training ended worse than it began: loss {statistics.fmean(recent):.3g}, {first:.3g} before it"
        if not self.fixes.run.ended_worse():
            self.fixes.run.alert("ended_worse", seen, "its checkpoints can't be deployed")
        self.fixes.run.summarise(ended_worse=seen)
        raise MiloError(f"{seen}; lower the learning rate, or mend the data", code="training_diverged")

    def _back(self, kind: str, seen: str, step: int, batches: list[list[str]]) -> None:
        self.fixes.count(kind, seen)
        self.fixes.halved_at.append(self.good_step)
        self.fixes.save()
        rate = self.fixes.rate(step)
        done = f"back to step {self.good_step}, learning rate now {rate:g} times the recipe's"
        more: dict[str, Any] = {"ids": [name for batch in batches for name in batch]}
        self.fixes.run.alert(f"{kind}_rollback", seen, done, step, **more)
        raise RollBack(seen)
