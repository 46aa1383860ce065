"""The loop that VITS and NLLB are trained by: steps, logs, evaluations, checkpoints, what is mended on the way.

Knows runs and recipes, and a `Trainable`: what is trained. Two things make it exact: it draws its randomness from
the number of the step, and everything else that the next step depends on is in the checkpoint. (Whisper is trained by
transformers' own `Seq2SeqTrainer`, `trainer.whisper.train`.)
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from milo.errors import Invalid
from milo.recipes import Recipe
from milo.storage.roots import named_path
from milo.training.runs import Run
from trainer.loop import checkpoints, parking, run_record
from trainer.loop.guards import Fixes, LossGuard, RollBack
from trainer.loop.reporting import Reporter, Summary, reported
from trainer.loop.step import Step
from trainer.loop.trainable import StepResult, Trainable

STATE = "trainer_state.json"


@dataclass
class Position:
    """How far a training is; everything the loop itself must remember."""

    step: int = 0
    worse: int = 0
    """Evaluations in a row without a better one."""
    best: list[tuple[float, int]] = field(default_factory=list)
    """(value times sign, step) of the best evaluations, best first."""
    sums: dict[str, float] = field(default_factory=dict)
    """Of each metric since the last log."""
    summed: int = 0
    last_loss: float | None = None
    losses: list[float] = field(default_factory=list)
    """The recent ones, which the next are compared with."""


def train(recipe: Recipe, run: Run, make: Callable[[], Trainable]) -> Generator[Step, None, Summary]:
    """Train what `make` makes until the recipe's end. Yields after every optimizer step, with an unchanged number also
    while it evaluates; returns the summary. Started again on the same run it goes on from the last good checkpoint."""
    run.path.mkdir(parents=True, exist_ok=True)
    return (yield from reported(recipe, run, _train(recipe, run, make)))


def _train(recipe: Recipe, run: Run, make: Callable[[], Trainable]) -> Generator[Step, None, Summary]:
    run_record.describe(run, recipe)
    loop = Loop(recipe, run, make())
    try:
        with parking.held(loop):
            yield from loop.steps()
        if recipe.task != "vits":  # the loss of two networks that play against each other does not tell
            loop.guard.check_end()
    finally:
        loop.reporter.close()
    return loop.reporter.finish(loop.position.step, loop.trainable.document)


class Loop:
    """One training of one run."""

    def __init__(self, recipe: Recipe, run: Run, trainable: Trainable) -> None:
        self.recipe, self.options, self.run, self.trainable = recipe, recipe.training, run, trainable
        self.fixes = Fixes.of(run)
        self.reporter = Reporter(run, recipe, trainable.total, trainable.panels)
        self.away = False
        """Its tensors are in RAM while it stands still; see `trainer.loop.parking`."""
        self._begin()

    # --- the beginning ---

    def _begin(self) -> None:
        """From the last good checkpoint of this run, else from the recipe's, else from the base model."""
        self.trainable.reset()
        had = bool(self.run.checkpoints())
        restored = checkpoints.restore(self.run, self._load)
        if restored is None and had:
            self.trainable.reset()  # a checkpoint that broke off in the middle has left its traces
        if restored is None and self.recipe.resume:
            restored = 0, self._resume(named_path(self.recipe.resume))
        self.position = restored[1] if restored else Position()
        self.guard = LossGuard(self.fixes, self.position.losses, self.position.step)
        self.reporter.resume(self.position.step)
        self._spent_s = self._audio_s = 0.0
        self._speed_s: float | None = None
        self._epoch: float | None = None

    def _load(self, folder: Path) -> Position:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        self.trainable.load(folder)
        position = Position(**state["position"])
        position.best = [(value, step) for value, step in position.best]
        return position

    def _resume(self, folder: Path) -> Position:
        try:
            position = self._load(folder)
        except checkpoints.BROKEN as error:
            raise Invalid(f"resume: training can't go on from {folder}: {error}", code="bad_checkpoint") from None
        position.best = []  # its checkpoints are another run's
        return position

    # --- where it is ---

    def offload(self) -> bool:
        """Off the card, until it goes on."""
        if self.trainable.device.type == "cpu" or self.away:
            return False
        self._move("cpu")
        self.away = True
        return True

    def _move(self, device: torch.device | str) -> None:
        for module, optimizer in self.trainable.movable():
            parking.move(module, optimizer, device)

    def _come_back(self) -> None:
        if self.away:
            self._move(self.trainable.device)
            self.away = False

    # --- steps ---

    def steps(self) -> Iterator[Step]:
        for step in self._steps():
            yield step
            self._come_back()

    def _steps(self) -> Iterator[Step]:
        if self.position.step == 0 and not any(row["step"] == 0 for row in self.run.metrics()):
            yield from self._before()
        while self.position.step < self.trainable.total and not self._stops():
            try:
                metrics = self._step()
            except RollBack:
                self._begin()
                continue
            yield from self._after(metrics)

    def _before(self) -> Iterator[Step]:
        """How good the base model is."""
        self._sample()
        metrics = yield from self._evaluated()
        self.reporter.log(0, **metrics)
        self.run.summarise(base={"metric": self.trainable.best_by, "value": metrics[self.trainable.best_by]})

    def _evaluated(self) -> Generator[Step, None, dict[str, float]]:
        evaluating = self.trainable.evaluate()
        while True:
            try:
                next(evaluating)
            except StopIteration as end:
                metrics: dict[str, float] = end.value
                return metrics
            yield Step(self.position.step, self.trainable.total)

    def _step(self) -> dict[str, float]:
        """One optimizer step; its metrics if they are due. Raises `RollBack`."""
        position, number = self.position, self.position.step
        while True:
            began = time.monotonic()
            try:
                done = self.trainable.step(number, self.fixes.rate(number), self.fixes.splits)
                break
            except torch.cuda.OutOfMemoryError as error:
                detail = str(error)
            if not parking.ask_for_room():
                self.fixes.split_more(number + 1, detail)
            torch.cuda.empty_cache()
        position.step += 1
        self._epoch = done.now.get("train/epoch", self._epoch)
        self.guard.check(position.step, done.loss, done.ids)
        if math.isfinite(done.loss):
            took_s = time.monotonic() - began
            self._speed_s = took_s if self._speed_s is None else 0.9 * self._speed_s + 0.1 * took_s
            self._spent_s, self._audio_s = self._spent_s + took_s, self._audio_s + done.audio_s
            position.summed, position.last_loss = position.summed + 1, done.loss
            for name, value in {"train/loss": done.loss, **done.metrics}.items():
                position.sums[name] = position.sums.get(name, 0.0) + value
        return self._metrics(done) if position.step % self.options.log_steps == 0 and position.summed else {}

    def _metrics(self, done: StepResult) -> dict[str, float]:
        """Means since the last time."""
        position = self.position
        metrics = {name: total / position.summed for name, total in position.sums.items()} | done.now
        metrics["perf/step_s"] = self._spent_s / position.summed
        if self._audio_s:
            metrics["perf/audio_s_per_s"] = self._audio_s / max(self._spent_s, 1e-9)
        self._spent_s = self._audio_s = 0.0
        position.sums, position.summed = {}, 0
        return metrics

    def _after(self, metrics: dict[str, float]) -> Iterator[Step]:
        """Evaluate, log and save what is due after a step, and say that it is done."""
        step, options = self.position.step, self.options
        ends, better = step == self.trainable.total, False
        if step % options.eval_steps == 0 or ends:
            scores = yield from self._evaluated()
            better = self._rank(scores[self.trainable.best_by])
            metrics |= scores
        if metrics:
            self.reporter.log(step, **metrics)
        if better or ends or step % options.save_steps == 0 or self._stops():
            self._save()
        self._report()
        yield Step(step, self.trainable.total, metrics or None)

    # --- what is kept ---

    def _rank(self, value: float) -> bool:
        """Note an evaluation; whether its checkpoint is one of the best to keep."""
        position, keep, score = self.position, self.options.keep_best, value * self.trainable.sign
        first = not position.best or score < position.best[0][0]
        position.worse = 0 if first else position.worse + 1
        position.best = sorted([*position.best, (score, position.step)])[: max(1, keep)]
        return keep > 0 and any(step == position.step for _, step in position.best)

    def _stops(self) -> bool:
        return self.options.early_stop is not None and self.position.worse >= self.options.early_stop

    def _save(self) -> None:
        position, run = self.position, self.run
        position.losses = list(self.guard.losses)
        checkpoints.write(run, position.step, self._fill)
        self.guard.good_step = position.step
        scores = {step: score for score, step in position.best}
        checkpoints.prune(run, scores, self.options.keep_best, self.options.keep_last)
        sign = self.trainable.sign
        values = {step: score * sign for step, score in scores.items()}
        self.reporter.saved(values, self.trainable.best_by, sign)
        self._sample()
        self.reporter.curves()

    def _fill(self, folder: Path) -> None:
        self.trainable.save(folder)
        position = self.position
        state = {"global_step": position.step, "max_steps": self.trainable.total, "position": asdict(position)}
        (folder / STATE).write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")

    def _sample(self) -> None:
        why = self.trainable.sample(self.position.step)
        if why:
            self.run.alert("no_sample", why, "the training goes on", step=self.position.step)

    def _report(self) -> None:
        position = self.position
        self.reporter.progress(position.step, epoch=self._epoch, speed_s=self._speed_s, last_loss=position.last_loss)
