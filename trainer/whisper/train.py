"""Fine-tuning Whisper by a recipe, as a generator that yields after every optimizer step and may be left at any.

    for step in train(settings, recipe, run): ...

Started anew on the same run it goes on from the last good checkpoint there, and computes what an undisturbed training
would have: bit for bit on a CPU.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Generator
from pathlib import Path

import torch

from milo.errors import Invalid
from milo.recipes import Recipe
from milo.settings import Settings
from milo.training.runs import Run
from trainer.loop import parking
from trainer.loop.background import in_background
from trainer.loop.guards import Fixes, LossGuard, RollBack
from trainer.loop.reporting import Reporter, Summary, reported
from trainer.loop.step import Step
from trainer.loop.thread_generator import ThreadGenerator
from trainer.whisper import checkpoints as whisper_checkpoints
from trainer.whisper import model
from trainer.whisper.arguments import arguments
from trainer.whisper.features import Batches
from trainer.whisper.hf_callback import StepCallback
from trainer.whisper.hf_trainer import WhisperTrainer
from trainer.whisper.meter import Meter
from trainer.whisper.prepare import Prepared, prepare
from trainer.whisper.validation import Validation


def train(settings: Settings, recipe: Recipe, run: Run) -> Generator[Step, None, Summary]:
    """Train. Yields `Step` after every optimizer step (and, with an unchanged number, while it prepares or evaluates);
    returns the run's summary. Raises `MiloError` with a sentence when the recipe can't be trained."""
    return (yield from reported(recipe, run, _train(settings, recipe, run)))


def _train(settings: Settings, recipe: Recipe, run: Run) -> Generator[Step, None, Summary]:
    prepared = yield from _prepared(settings, recipe, run)
    thread = ThreadGenerator()
    return (yield from thread.steps(lambda: Training(settings, recipe, run, prepared, thread).run_all()))


def _prepared(settings: Settings, recipe: Recipe, run: Run) -> Generator[Step, None, Prepared]:
    """What is read and planned, in a thread, without a GPU."""
    preparing = in_background(lambda report: prepare(settings, recipe, run, report), "preparing", wait=False)
    try:
        while True:
            try:
                next(preparing)
            except StopIteration as end:
                prepared: Prepared = end.value
                return prepared
            yield Step(0, 0)
    finally:
        preparing.close()


def _give_back_memory() -> None:
    """The stock trainer is full of cycles; without this the next model is loaded beside the last."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


class Training:
    """One training in its thread: attempts, reports, the end."""

    def __init__(
        self, settings: Settings, recipe: Recipe, run: Run, prepared: Prepared, thread: ThreadGenerator
    ) -> None:
        self.settings, self.recipe, self.run, self.prepared, self.thread = settings, recipe, run, prepared, thread
        self.schedule = recipe.training
        self.total = prepared.plan.steps
        self.fixes = Fixes.of(run)
        self.reporter = Reporter(run, recipe, self.total)
        self.last = Step(0, self.total)
        self.meter = Meter(self._now)
        self.trainer: WhisperTrainer | None = None

    def run_all(self) -> Summary:
        """Attempts until one gets through; each begins at the last good checkpoint."""
        try:
            while True:
                try:
                    self._attempt()
                    break
                except RollBack:
                    _give_back_memory()
            return self._finish()
        finally:
            self.reporter.close()
            _give_back_memory()

    def pause(self) -> None:
        """Stand still, and say what has been done since."""
        step, self.last = self.last, Step(self.last.step, self.total)
        self.thread.suspend(step)
        if self.trainer is not None:
            self.trainer.come_back()

    # --- one attempt ---

    def _attempt(self) -> None:
        resume = whisper_checkpoints.last_good(self.run)
        if resume is None and self.recipe.resume:
            resume = whisper_checkpoints.foreign(self.recipe.resume)
        step = whisper_checkpoints.step_of(resume) if resume else 0
        self.reporter.resume(step)
        self.last = Step(step, self.total)
        if step >= self.total:
            if resume is not None and resume.parent == self.run.path:
                self._guard(resume, step).check_end()
                return
            raise Invalid(
                f"resume: {resume} is at step {step} already; training.max_steps is {self.total}", code="bad_checkpoint"
            )
        trainer = self._trainer(resume, step)
        self.meter.restart()
        self.trainer = trainer
        try:
            with parking.held(trainer):
                trainer.train(resume_from_checkpoint=str(resume) if resume else None)
                trainer.guard.check_end()
                self.pause()
        except ValueError as error:
            if resume is None:
                raise
            raise Invalid(f"resume: {resume} does not fit the recipe: {error}", code="bad_checkpoint") from error
        finally:
            self.trainer = None

    def _guard(self, resume: Path | None, step: int) -> LossGuard:
        kept = whisper_checkpoints.extras(resume) if resume else {}
        return LossGuard(self.fixes, kept.get("losses", []), step, self.schedule.log_steps)

    def _trainer(self, resume: Path | None, step: int) -> WhisperTrainer:
        from transformers import PrinterCallback

        guard = self._guard(resume, step)
        foreign = resume is not None and resume.parent != self.run.path
        callback = StepCallback(self.schedule.early_stop, foreign, self._report, self._saved)
        prepared, schedule = self.prepared, self.schedule
        trainer = WhisperTrainer(
            settings=self.settings,
            run=self.run,
            base=prepared.base,
            batches=Batches(prepared.plan, prepared.labels, schedule.seed, schedule.augment),
            validation=Validation(
                prepared.validation,
                prepared.labels,
                prepared.windows,
                schedule,
                self.run,
                self.recipe.evaluation.max_items,
                self.recipe.evaluation.beam_size,
            ),
            guard=guard,
            fixes=self.fixes,
            log=self.reporter.log,
            thread=self.thread,
            pause=self.pause,
            keep=(schedule.keep_best, schedule.keep_last),
            model=model.build(self.settings, prepared.base, schedule),
            args=arguments(self.settings, schedule, self.run.path, self.total),
            train_dataset=prepared.plan.items,
            eval_dataset=list(prepared.validation),
            data_collator=lambda rows: rows,
            callbacks=[callback],
        )
        callback.trainer = trainer
        trainer.remove_callback(PrinterCallback)
        return trainer

    # --- what is reported ---

    def _now(self) -> float:
        """A clock that stands still with the training."""
        return time.perf_counter() - self.thread.suspended_s

    def _report(self, trainer: WhisperTrainer, loss: float) -> None:
        """A step is done: count it, log it when it is its turn."""
        step = trainer.state.global_step
        self.meter.count(trainer.micro_batches)
        due = step % self.schedule.log_steps == 0 or step == self.total
        self.last = Step(step, self.total, self._log(trainer, step, loss) if due else None)
        epoch = float(trainer.state.epoch or 0)
        self.reporter.progress(step, epoch=epoch, speed_s=self.meter.step_s, last_loss=loss)

    def _log(self, trainer: WhisperTrainer, step: int, loss: float) -> dict[str, float]:
        recent = list(trainer.guard.losses)[-self.schedule.log_steps :]
        row = {
            "train/loss": sum(recent) / len(recent) if recent else loss,
            "train/learning_rate": float(trainer.lr_scheduler.get_last_lr()[0]),
            "train/epoch": round(float(trainer.state.epoch or 0), 6),
            **self.meter.read(),
        }
        self.reporter.log(step, **row)
        stock = {name: row[f"train/{name}"] for name in ("loss", "learning_rate", "epoch")}
        trainer.state.log_history.append({**stock, "step": step})
        return row

    # --- the end ---

    def _saved(self, trainer: WhisperTrainer) -> None:
        self.reporter.saved(trainer.scores(), "eval/wer")

    def _finish(self) -> Summary:
        best = self.run.summary().get("best") or self.run.summary().get("last") or {}
        if self.schedule.lora and best.get("path"):
            best = {**best, "path": str(self._merged(Path(best["path"])))}
            self.run.summarise(best=best)
        return self.reporter.finish(self.last.step, self.prepared.document)

    def _merged(self, checkpoint: Path) -> Path:
        """Beside a LoRA checkpoint, the whole model that it makes of its base."""
        final = self.run.path / f"merged-{checkpoint.name}"
        made = self.run.path / f".saving-{final.name}"
        model.merge(self.settings, self.prepared.base, self.schedule, checkpoint, made)
        whisper_checkpoints.publish(made, final, self.settings, self.prepared.base)
        return final
