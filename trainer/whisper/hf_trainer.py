"""transformers' Seq2SeqTrainer, taught Milo's batches, guards and checkpoints.

What is on disk stays stock: weights as safetensors, optimizer, scheduler, random states, trainer_state.json.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate.utils.memory import should_reduce_batch_size
from torch.nn import functional as F
from transformers import Seq2SeqTrainer

from milo.models.registry import ResolvedModel
from milo.settings import Settings
from milo.training.runs import Run
from trainer.loop import checkpoints, parking
from trainer.loop.guards import Fixes, LossGuard
from trainer.loop.thread_generator import ThreadGenerator
from trainer.whisper import checkpoints as whisper_checkpoints
from trainer.whisper.arguments import METRIC
from trainer.whisper.features import IGNORE, Batches
from trainer.whisper.model import logits_of
from trainer.whisper.validation import Validation

SAVING = ".saving"


def parts_of(inputs: dict[str, Any], splits: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The rows of a micro-batch in `splits` parts, fewer when it has fewer rows."""
    rows = len(inputs["labels"])
    size = -(-rows // min(splits, rows))
    for start in range(0, rows, size):
        yield inputs["input_features"][start : start + size], inputs["labels"][start : start + size]


class WhisperTrainer(Seq2SeqTrainer):
    """One attempt at a training. `pause` is called wherever it may stand still for other work."""

    def __init__(
        self,
        *,
        settings: Settings,
        run: Run,
        base: ResolvedModel,
        batches: Batches,
        validation: Validation,
        guard: LossGuard,
        fixes: Fixes,
        log: Callable[..., None],
        thread: ThreadGenerator,
        pause: Callable[[], None],
        keep: tuple[int, int],
        **stock: Any,
    ) -> None:
        super().__init__(**stock)
        self.settings, self.run, self.base = settings, run, base
        self.batches, self.validation, self.report = batches, validation, log
        self.guard, self.fixes, self.thread, self.pause, self.keep = guard, fixes, thread, pause, keep
        self.model_accepts_loss_kwargs = True  # so that the labels of all micro-batches of a step are counted
        self.loss_is_scaled_for_ga = True  # `compute_loss` divides by that count
        self.away = False
        """Its tensors are in RAM while it stands still."""
        self.micro_batches: list[dict[str, Any]] = []
        """Micro-batches of the step in hand."""
        self.step_loss = 0.0
        self.not_finite = False
        """The loss of a micro-batch of this step is no number."""

    # --- where it is ---

    def offload(self) -> bool:
        """See `trainer.loop.parking`: off the card, until it goes on."""
        if self.args.device.type == "cpu" or self.away or self.optimizer is None:
            return False
        parking.move(self.model, self.optimizer, "cpu")
        self.away = True
        return True

    def come_back(self) -> None:
        if self.away:
            parking.move(self.model, self.optimizer, self.args.device)
            self.away = False

    # --- batches ---

    def get_train_dataloader(self) -> Any:
        return self.batches

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """Forward and backward of a micro-batch; when memory runs out, this step's are made again in smaller parts."""
        model.train()
        self.micro_batches.append(inputs)
        lacking = ""
        try:
            loss = self._learn(model, inputs, num_items_in_batch)
        except RuntimeError as error:
            if not should_reduce_batch_size(error):
                raise
            lacking = str(error).splitlines()[0]
        if lacking:  # outside of `except`, whose traceback holds the tensors
            return self._again_smaller(model, num_items_in_batch, lacking)
        self.step_loss += float(loss)
        return loss

    def _again_smaller(self, model: Any, counted: Any, detail: str) -> torch.Tensor:
        crowded = parking.ask_for_room()
        while True:
            if not crowded:
                self.fixes.split_more(self.state.global_step + 1, detail)
            crowded = False
            model.zero_grad()
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            try:
                losses = [self._learn(model, inputs, counted) for inputs in self.micro_batches]
            except RuntimeError as error:
                if not should_reduce_batch_size(error):
                    raise
                detail = str(error).splitlines()[0]
                continue
            self.step_loss = float(sum(losses))
            return losses[-1]

    def _learn(self, model: Any, inputs: dict[str, Any], counted: Any) -> torch.Tensor:
        total = torch.zeros((), device=self.args.device)
        for features, labels in parts_of(inputs, self.fixes.splits):
            part = {"input_features": features.to(self.args.device), "labels": labels.to(self.args.device)}
            loss = self.compute_loss(model, part, num_items_in_batch=counted)
            total = total + loss.detach()
            if torch.isfinite(loss) or self.accelerator.scaler is not None:  # a scaler skips the update by itself
                self.accelerator.backward(loss)
            else:
                self.not_finite = True
        return total

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Summed cross entropy of the labels over the number of labels in the whole update."""
        with self.accelerator.autocast():
            logits = logits_of(model, inputs["input_features"], inputs["labels"])
        labels = inputs["labels"]
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORE, reduction="sum")
        loss = loss / (num_items_in_batch if num_items_in_batch is not None else labels.ne(IGNORE).sum())
        return (loss, {"logits": logits}) if return_outputs else loss

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        return 0  # an estimate that knows nothing of windows; perf/audio_s_per_s says more

    # --- learning rate ---

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The stock schedule, halved from the steps on that fixes name."""
        scheduler = super().create_scheduler(num_training_steps, optimizer)
        for at, stock in enumerate(scheduler.lr_lambdas):
            scheduler.lr_lambdas[at] = lambda step, stock=stock: stock(step) * self.fixes.rate(step)
        return scheduler

    def apply_rate(self) -> None:
        """After a checkpoint was loaded: its learning rate may be from before a fix."""
        scheduler: Any = self.lr_scheduler
        if not self.fixes.halved_at:
            return
        for group, base, rate in zip(
            scheduler.optimizer.param_groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True
        ):
            group["lr"] = base * rate(scheduler.last_epoch)

    # --- evaluation ---

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        began = time.perf_counter()
        with self.thread.off_the_clock():
            scores = self.validation(self.model, self.state.global_step, self.accelerator.autocast, self.pause)
        metrics = {f"eval_{name}": value for name, value in scores.items()}
        metrics["eval_runtime"] = round(time.perf_counter() - began, 3)
        self.log(dict(metrics))
        self.report(self.state.global_step, **{f"eval/{name}": value for name, value in scores.items()})
        self.control: Any = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def scores(self) -> dict[int, float]:
        """WER by step, of every evaluation so far."""
        return {int(row["step"]): float(row[METRIC]) for row in self.state.log_history if METRIC in row}

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        better: bool = super()._determine_best_metric(metrics, trial)
        if better:
            self.state.best_model_checkpoint = str(self.run.path / f"checkpoint-{self.state.global_step}")
        scores = self.scores()
        among = sorted(scores, key=lambda step: (scores[step], step))[: self.keep[0]]
        if self.state.global_step in among:
            self.control.should_save = True  # it will be kept, so it must be there
        return better

    # --- checkpoints ---

    def _get_output_dir(self, trial: Any) -> str:
        return str(self.run.path / SAVING)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """As stock, but written aside and given its name when it is whole."""
        best = self.state.best_model_checkpoint
        with self.thread.off_the_clock():
            self._save_whole(model, trial)
        self.state.best_model_checkpoint = best

    def _save_whole(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        step = self.state.global_step
        staged, final = Path(self._get_output_dir(None)) / f"checkpoint-{step}", self.run.path / f"checkpoint-{step}"
        whisper_checkpoints.publish(staged, final, self.settings, self.base, losses=list(self.guard.losses))
        self.guard.good_step = step
        checkpoints.prune(self.run, self.scores(), *self.keep)
