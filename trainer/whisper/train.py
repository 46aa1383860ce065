"""Fine-tuning Whisper by a recipe, as a generator that yields after every optimizer step and may be left at any.

    for step in train(settings, recipe, run): ...

Started anew on the same run it goes on from the last good checkpoint there, and computes what an undisturbed training
would have: bit for bit on a CPU.
"""

from __future__ import annotations

import gc
import math
import time
from collections import deque
from collections.abc import Generator
from pathlib import Path
from typing import Any

import torch

from milo.errors import Invalid, MiloError
from milo.recipes import Recipe
from milo.settings import Settings
from milo.training.runs import Run
from trainer.loop import checkpoints, parking, run_record
from trainer.loop.background import in_background
from trainer.loop.guards import Fixes, LossGuard, RollBack
from trainer.loop.step import Step
from trainer.loop.thread_generator import ThreadGenerator
from trainer.whisper import checkpoints as whisper_checkpoints
from trainer.whisper import model
from trainer.whisper.features import Batches
from trainer.whisper.hf_trainer import METRIC, StepCallback, WhisperTrainer
from trainer.whisper.prepare import Prepared, prepare
from trainer.whisper.validation import Validation

SUMMARY_EVERY_S = 1.0


def train(settings: Settings, recipe: Recipe, run: Run) -> Generator[Step, None, dict[str, Any]]:
    """Train. Yields `Step` after every optimizer step (and, with an unchanged number, while it prepares or judges);
    returns the run's summary. Raises `MiloError` with a sentence when the recipe can't be trained."""
    run.summarise(
        state="preprocessing",
        task=recipe.task,
        model=recipe.model,
        started_at=run.summary().get("started_at") or time.time(),
        updated_at=time.time(),
        error=None,
    )
    try:
        prepared = yield from _prepared(settings, recipe, run)
        thread = ThreadGenerator()
        return (yield from thread.steps(lambda: Training(settings, recipe, run, prepared, thread).run_all()))
    except Exception as error:
        detail = error.detail if isinstance(error, MiloError) else f"{type(error).__name__}: {error}"
        run.summarise(state="failed", error=detail, updated_at=time.time())
        raise


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


def _checkpointing(wanted: bool) -> dict[str, bool]:
    """The argument's name depends on the version of transformers."""
    from transformers import TrainingArguments

    new = "activation_checkpointing"
    return {new if hasattr(TrainingArguments, new) else "gradient_checkpointing": True} if wanted else {}


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
        self.tracker = run_record.Tracker(run)
        self.last = Step(0, self.total)
        self._paces: deque[float] = deque(maxlen=20)
        self._counted = [0.0, 0.0, 0, time.perf_counter()]
        """Since the last log: seconds of audio, with padding, steps, and when that was."""
        self._written = 0.0
        self.trainer: WhisperTrainer | None = None

    def run_all(self) -> dict[str, Any]:
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
            self.tracker.close()
            _give_back_memory()

    def pause(self) -> None:
        """Stand still, and say what has been done since."""
        step, self.last = self.last, Step(self.last.step, self.total)
        self.thread.suspend(step)
        if self.trainer is not None:
            self.trainer.come_back()

    # --- one attempt ---

    def _attempt(self) -> None:
        checkpoints.clear_leftovers(self.run)
        resume = whisper_checkpoints.last_good(self.run)
        if resume is None and self.recipe.resume:
            resume = whisper_checkpoints.foreign(self.recipe.resume)
        step = whisper_checkpoints.step_of(resume) if resume else 0
        self.run.forget_after(step)
        self.tracker.close()
        self.tracker.first_step = step
        self.last = Step(step, self.total)
        if step >= self.total:
            if resume is not None and resume.parent == self.run.path:
                return
            raise Invalid(
                f"resume: {resume} is at step {step} already; training.max_steps is {self.total}", code="bad_checkpoint"
            )
        self.run.summarise(state="training", step=step, total_steps=self.total, run=self.run.id, updated_at=time.time())
        trainer = self._trainer(resume, step)
        self._counted = [0.0, 0.0, 0, self._now()]
        self.trainer = trainer
        try:
            with parking.held(trainer):
                trainer.train(resume_from_checkpoint=str(resume) if resume else None)
                self.pause()
        except ValueError as error:
            if resume is None:
                raise
            raise Invalid(f"resume: {resume} does not fit the recipe: {error}", code="bad_checkpoint") from error
        finally:
            self.trainer = None

    def _trainer(self, resume: Path | None, step: int) -> WhisperTrainer:
        from transformers import PrinterCallback

        kept = whisper_checkpoints.extras(resume) if resume else {}
        guard = LossGuard(self.fixes, kept.get("losses", []), step, self.schedule.log_steps)
        foreign = resume is not None and resume.parent != self.run.path
        callback = StepCallback(self.schedule.early_stop, foreign, self._report, self._links)
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
            tracker=self.tracker,
            thread=self.thread,
            pause=self.pause,
            keep=(schedule.keep_best, schedule.keep_last),
            model=model.build(self.settings, prepared.base, schedule),
            args=self._arguments(),
            train_dataset=prepared.plan.items,
            eval_dataset=list(prepared.validation),
            data_collator=lambda rows: rows,
            callbacks=[callback],
        )
        callback.trainer = trainer
        trainer.remove_callback(PrinterCallback)
        return trainer

    def _arguments(self) -> Any:
        from transformers import Seq2SeqTrainingArguments

        schedule = self.schedule
        return Seq2SeqTrainingArguments(
            output_dir=str(self.run.path),
            max_steps=self.total,
            per_device_train_batch_size=schedule.batch_size,
            gradient_accumulation_steps=schedule.gradient_accumulation,
            learning_rate=schedule.learning_rate,
            lr_scheduler_type=schedule.scheduler,
            warmup_steps=schedule.warmup_steps,
            weight_decay=schedule.weight_decay,
            max_grad_norm=schedule.max_grad_norm,
            optim="adamw_torch",
            seed=schedule.seed,
            bf16=schedule.precision == "bf16",
            fp16=schedule.precision == "fp16",
            **_checkpointing(schedule.gradient_checkpointing),
            logging_strategy="no",
            logging_nan_inf_filter=False,
            eval_strategy="steps",
            eval_steps=schedule.eval_steps,
            save_strategy="steps",
            save_steps=schedule.save_steps,
            metric_for_best_model=METRIC,
            greater_is_better=False,
            ignore_data_skip=True,  # `Batches` begins where the checkpoint is
            remove_unused_columns=False,
            use_cpu=self.settings.device == "cpu",
            report_to="none",
            disable_tqdm=True,
        )

    # --- what is said ---

    def _now(self) -> float:
        """A clock that stands still with the training."""
        return time.perf_counter() - self.thread.suspended_s

    def _report(self, trainer: WhisperTrainer, loss: float) -> None:
        """A step is done: count it, log it when it is its turn."""
        step = trainer.state.global_step
        audio_s, padded_s, steps, since = self._counted
        audio_s += sum(batch["audio_s"] for batch in trainer.micro_batches)
        padded_s += sum(batch["padded_s"] for batch in trainer.micro_batches)
        self._counted = [audio_s, padded_s, steps + 1, since]
        self.last = Step(step, self.total, None)
        if step % self.schedule.log_steps == 0 or step == self.total:
            self.last = Step(step, self.total, self._log(trainer, step, loss))
        self._summary(trainer, step, loss)

    def _log(self, trainer: WhisperTrainer, step: int, loss: float) -> dict[str, float]:
        audio_s, padded_s, steps, since = self._counted
        took_s = max(self._now() - since, 1e-9)
        recent = list(trainer.guard.losses)[-self.schedule.log_steps :]
        mean = sum(recent) / len(recent) if recent else loss
        row = {
            "train/loss": mean,
            "train/learning_rate": float(trainer.lr_scheduler.get_last_lr()[0]),
            "train/epoch": round(float(trainer.state.epoch or 0), 6),
            "perf/audio_s_per_s": round(audio_s / took_s, 3),
            "perf/padding_ratio": round(1 - audio_s / padded_s, 6) if padded_s else 0.0,
            "perf/step_s": round(took_s / max(1, steps), 6),
        }
        self.tracker.log(step, **row)
        stock = {"loss": mean, "learning_rate": row["train/learning_rate"], "epoch": row["train/epoch"], "step": step}
        trainer.state.log_history.append(stock)
        self._paces.append(row["perf/step_s"])
        self._counted = [0.0, 0.0, 0, self._now()]
        return row

    def _summary(self, trainer: WhisperTrainer, step: int, loss: float) -> None:
        if time.monotonic() - self._written < SUMMARY_EVERY_S and step < self.total:
            return
        self._written = time.monotonic()
        speed_s = self._speed_s()
        self.run.summarise(
            state="training",
            step=step,
            total_steps=self.total,
            epoch=round(float(trainer.state.epoch or 0), 4),
            speed_s_per_step=speed_s,
            eta_s=round((self.total - step) * speed_s, 1) if speed_s else None,
            last_loss=loss if math.isfinite(loss) else None,
            updated_at=time.time(),
        )

    def _speed_s(self) -> float | None:
        if self._paces:
            return float(sorted(self._paces)[len(self._paces) // 2])
        _, _, steps, since = self._counted
        return round((self._now() - since) / steps, 6) if steps else None

    # --- the end ---

    def _links(self, trainer: WhisperTrainer) -> None:
        found = self.run.checkpoints()
        scores = {step: score for step, score in trainer.scores().items() if step in found}
        best = min(scores, key=lambda step: (scores[step], step), default=None)
        fields: dict[str, Any] = {}
        if found:
            last = max(found)
            checkpoints.link(self.run, "last", found[last])
            fields["last"] = {"step": last, "path": str(found[last])}
        if best is not None:
            checkpoints.link(self.run, "best", found[best])
            fields["best"] = {"step": best, "metric": "eval/wer", "value": scores[best], "path": str(found[best])}
        self.run.summarise(**fields)

    def _finish(self) -> dict[str, Any]:
        best = self.run.summary().get("best") or self.run.summary().get("last") or {}
        if self.schedule.lora and best.get("path"):
            best = {**best, "path": str(self._merged(Path(best["path"])))}
            self.run.summarise(best=best)
        run_record.curves(self.run)
        run_record.card(self.run, self.recipe, self.recipe.model, self.prepared.document)
        self.run.summarise(state="done", step=self.last.step, eta_s=0, updated_at=time.time())
        return self.run.summary()

    def _merged(self, checkpoint: Path) -> Path:
        """Beside a LoRA checkpoint, the whole model that it makes of its base."""
        final = self.run.path / f"merged-{checkpoint.name}"
        made = self.run.path / f".saving-{final.name}"
        model.merge(self.settings, self.prepared.base, self.schedule, checkpoint, made)
        whisper_checkpoints.publish(made, final, self.settings, self.prepared.base)
        return final
