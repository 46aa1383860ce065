"""What every training says of itself in its run, whichever loop it goes through: metrics, summary.json, best and last.

Knows no model and no optimizer: the loops hand it numbers.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from milo.errors import MiloError
from milo.recipes import Recipe
from milo.training.runs import Run
from trainer.loop import checkpoints, run_record
from trainer.loop.step import Step

SUMMARY_EVERY_S = 1.0
ALIVE_EVERY_S = 10.0
"""How often a training says that it goes on while no step ends: it prepares, or evaluates."""
Summary = dict[str, Any]
"""summary.json"""


def reported(recipe: Recipe, run: Run, steps: Generator[Step, None, Summary]) -> Generator[Step, None, Summary]:
    """The steps of a training; how it begins, and with which sentence it fails, stands in summary.json."""
    started = run.summary().get("started_at") or time.time()
    run.summarise(
        state="preprocessing",
        task=recipe.task,
        model=recipe.model,
        started_at=started,
        updated_at=time.time(),
        error=None,
    )
    try:
        return (yield from _alive(run, steps))
    except Exception as error:
        detail = error.detail if isinstance(error, MiloError) else f"{type(error).__name__}: {error}"
        run.summarise(state="failed", error=detail, updated_at=time.time())
        raise


def _alive(run: Run, steps: Generator[Step, None, Summary]) -> Generator[Step, None, Summary]:
    """The steps; summary.json is never older than `ALIVE_EVERY_S` while somebody takes them."""
    at = time.monotonic()
    try:
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                summary: Summary = end.value
                return summary
            if time.monotonic() - at > ALIVE_EVERY_S:
                at = time.monotonic()
                with contextlib.suppress(OSError):
                    run.summarise(updated_at=time.time())
            yield step
    finally:
        steps.close()


class Reporter:
    """Writes while a training goes on."""

    def __init__(
        self, run: Run, recipe: Recipe, total: int, panels: Sequence[run_record.Panel] = run_record.PANELS
    ) -> None:
        self.run, self.recipe, self.total, self.panels = run, recipe, total, panels
        self._tracker = run_record.Tracker(run)
        self._summarised_at = -math.inf

    def resume(self, step: int) -> None:
        """The training goes on after `step`: what was logged of later steps will be made again."""
        self.close()
        self.run.forget_after(step)
        self._tracker = run_record.Tracker(self.run, step)
        self.run.summarise(state="training", step=step, total_steps=self.total, run=self.run.id, updated_at=time.time())

    def log(self, step: int, **metrics: float) -> None:
        """A row of metrics.jsonl, and of TensorBoard."""
        self._tracker.log(step, **metrics)

    def progress(self, step: int, *, epoch: float | None, speed_s: float | None, last_loss: float | None) -> None:
        """Update summary.json, at most once a second but for the last step."""
        now = time.monotonic()
        if now - self._summarised_at < SUMMARY_EVERY_S and step < self.total:
            return
        self._summarised_at = now
        self.run.summarise(
            state="training",
            step=step,
            total_steps=self.total,
            epoch=epoch and round(epoch, 4),
            speed_s_per_step=speed_s and round(speed_s, 6),
            eta_s=round((self.total - step) * speed_s, 1) if speed_s else None,
            last_loss=last_loss if last_loss is None or math.isfinite(last_loss) else None,
            updated_at=time.time(),
        )

    def saved(self, scores: Mapping[int, float], metric: str, sign: int = 1) -> None:
        """A checkpoint was written: `best` and `last` name one each. A smaller score, times `sign`, is better."""
        there = self.run.checkpoints()
        fields: Summary = {}
        if there:
            last = max(there)
            checkpoints.link(self.run, "last", there[last])
            fields["last"] = {"step": last, "path": str(there[last])}
        kept = {step: score for step, score in scores.items() if step in there}
        if kept:
            best = min(kept, key=lambda step: (kept[step] * sign, step))
            checkpoints.link(self.run, "best", there[best])
            fields["best"] = {"step": best, "metric": metric, "value": kept[best], "path": str(there[best])}
        self.run.summarise(**fields)

    def curves(self) -> None:
        run_record.curves(self.run, self.panels)

    def finish(self, step: int, document: dict[str, Any]) -> Summary:
        """Curves and the model card; returns the summary. `document` is dataset.json."""
        self.curves()
        run_record.card(self.run, self.recipe, self.recipe.model, document)
        self.run.summarise(state="done", step=step, eta_s=0, updated_at=time.time())
        return self.run.summary()

    def close(self) -> None:
        self._tracker.close()
