"""What happens between the steps of stock Seq2SeqTrainer: batches are placed, losses watched, steps reported.

This is where a training gives way. It may stand still before a step and between its micro-batches; never between the
optimizer's step and what belongs to it (the checkpoint, the evaluation), so that nothing is half done while other work
has the card.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback

from trainer.whisper.arguments import METRIC
from trainer.whisper.hf_trainer import WhisperTrainer


class StepCallback(TrainerCallback):
    """One for each attempt; `trainer` is set once it is made."""

    def __init__(
        self,
        early_stop: int | None,
        foreign: bool,
        report: Callable[[WhisperTrainer, float], None],
        saved: Callable[[WhisperTrainer], None],
    ) -> None:
        self.early_stop, self.foreign, self.report, self.saved = early_stop, foreign, report, saved
        self.trainer: WhisperTrainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        state.compute_steps(args, state.max_steps)  # a foreign checkpoint brings its own
        if self.foreign:  # it was judged on other data, perhaps in percent
            state.log_history = [row for row in state.log_history if METRIC not in row]
            state.best_metric = state.best_global_step = state.best_model_checkpoint = None
        self.trainer.batches.start = state.global_step * args.gradient_accumulation_steps
        self.trainer.apply_rate()

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.trainer.pause()  # here and not at the step's end: what is saved and judged after it has been by now
        self.trainer.micro_batches.clear()
        self.trainer.step_loss, self.trainer.not_finite = 0.0, False

    def on_substep_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.trainer.pause()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.trainer.not_finite:
            for parameter in self.trainer.model.parameters():
                parameter.grad = None  # the optimizer leaves such parameters as they are

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        trainer = self.trainer
        state.epoch = trainer.batches.plan.epochs_at(state.global_step * args.gradient_accumulation_steps)
        ids = [name for batch in trainer.micro_batches for name in batch["ids"]]
        loss = float("nan") if trainer.not_finite else trainer.step_loss
        trainer.guard.check(state.global_step, loss, ids)
        self.report(trainer, loss)
        if state.global_step >= state.max_steps:
            control.should_evaluate = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.saved(self.trainer)

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        scores = list(self.trainer.scores().values())
        if self.early_stop and scores and len(scores) - 1 - scores.index(min(scores)) >= self.early_stop:
            control.should_training_stop = control.should_save = True
