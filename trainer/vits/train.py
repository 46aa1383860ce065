"""Fine-tune a VITS voice (MMS-TTS) on recordings of one speaker, as a generator of its steps.

    for step in train(settings, recipe, Run(folder)): ...

Method: Kim et al. 2021 (https://arxiv.org/abs/2106.06103), with the weights of `trainer.vits.losses`, AdamW with betas
0.8 and 0.99, and a rate that falls by a factor of 0.999875 an epoch. Of `recipe.training` it reads max_steps or
epochs, batch_size, batch_audio_s, gradient_accumulation, learning_rate, warmup_steps, weight_decay, seed, precision,
log_steps, eval_steps, save_steps, keep_best, keep_last and early_stop; gradients are not clipped, as VITS has it.

A checkpoint: the voice as stock transformers and Milo's engine load it, and `training/` with weights as they are
trained (with weight norm), AdamW's moments, and the discriminators. No pickles.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from pathlib import Path
from typing import Any

import torch

from milo.errors import Invalid
from milo.recipes import Recipe
from milo.settings import Settings
from milo.training.runs import Run
from trainer.loop import loop, run_record
from trainer.loop import state as training_state
from trainer.loop.base import device_of, pinned
from trainer.loop.step import Step
from trainer.loop.trainable import StepResult
from trainer.vits.clips import BatchPlan, cut, read_clips
from trainer.vits.gan import Diverged, Gan
from trainer.vits.losses import WEIGHTS
from trainer.vits.model import Voice, load_voice, save_voice
from trainer.vits.validation import judge, write_sample

GAMMA = 0.999875
BEST_BY = "eval/loss_mel"
GENERATOR, DISCRIMINATORS = "training/generator.safetensors", "training/discriminators.safetensors"


def train(settings: Settings, recipe: Recipe, run: Run) -> Generator[Step, None, dict[str, Any]]:
    """Train until the recipe's end; see `trainer.loop.loop.train`.

    Raises `Invalid` for data or a recipe that can't be used, `ModelUnavailable` for a model that can't be trained, and
    `MiloError` when the losses are no numbers, or the memory does not suffice, again and again.
    """
    return (yield from loop.train(recipe, run, lambda: VoiceTraining(settings, recipe, run)))


class VoiceTraining:
    """A `trainer.loop.trainable.Trainable`."""

    best_by, sign = BEST_BY, 1
    panels: tuple[run_record.Panel, ...] = (
        (("tts/loss_mel", BEST_BY), 1, "mel loss"),
        (("tts/loss_kl", "tts/loss_duration"), 1, "KL, duration"),
        (("tts/loss_gen", "tts/loss_disc", "tts/loss_fmaps"), 1, "adversarial"),
    )

    def __init__(self, settings: Settings, recipe: Recipe, run: Run) -> None:
        self.settings, self.recipe, self.run, self.options = settings, recipe, run, recipe.training
        self.device = device_of(settings)
        if self.device.type == "cpu" and self.options.precision == "fp16":
            raise Invalid("training.precision: fp16 needs a GPU; use fp32 or bf16 here", code="bad_recipe")
        self.base = pinned(settings, recipe.model, run)
        self._voice: Voice | None = load_voice(settings, self.base)
        self.train, self.held_out, self.document = read_clips(settings, recipe, run, self._voice)
        seconds = [clip.item.duration_s for clip in self.train.clips]
        self.plan = BatchPlan(seconds, self.options.batch_size, self.options.batch_audio_s, self.options.seed)
        micro = self.plan.count(self.options.epochs) // self.options.gradient_accumulation if self.options.epochs else 0
        self.total = self.options.max_steps or max(1, micro)
        self.gan: Gan

    def reset(self) -> None:
        self.__dict__.pop("gan", None)  # its memory is needed for the next one
        voice, self._voice = self._voice or load_voice(self.settings, self.base), None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.options.seed)
            self.gan = Gan(voice, self.device, self.options.precision, self.options.weight_decay)
        self.train.voice = self.held_out.voice = voice

    def step(self, number: int, factor: float, splits: int) -> StepResult:
        count = self.options.gradient_accumulation
        micro = [self.plan[number * count + n] for n in range(count)]
        parts = [part for _, batch in micro for part in cut(batch, splits)]
        clips = [self.train.clips[n].item for part in parts for n in part]
        rate = self._rate(number, micro[0][0]) * factor
        ids, audio_s = [clip.id for clip in clips], sum(clip.duration_s for clip in clips)
        seed = f"{self.options.seed}/{number}/{factor}"
        try:
            losses = self.gan.step([self.train.batch(part) for part in parts], seed, rate)
        except Diverged:
            return StepResult(math.nan, ids=ids)
        metrics = {f"tts/loss_{name}": value for name, value in losses.items()}
        now = {"train/learning_rate": rate, "train/epoch": self.plan.epochs((number + 1) * count - 1)}
        return StepResult(sum(losses[name] * weight for name, weight in WEIGHTS.items()), metrics, now, ids, audio_s)

    def _rate(self, number: int, epoch: int) -> float:
        warm = min(1.0, (number + 1) / (self.options.warmup_steps + 1))
        return self.options.learning_rate * warm * GAMMA**epoch

    def evaluate(self) -> Generator[None, None, dict[str, float]]:
        return judge(self.gan, self.held_out)

    def sample(self, number: int) -> str:
        path = self.run.path / "samples" / f"step-{number}.wav"
        return write_sample(self.gan, self.held_out.clips[0].item.text, self.recipe.data.language, path)

    def movable(self) -> list[tuple[Any, torch.optim.Optimizer]]:
        gan = self.gan
        return [(gan.model, gan.optimizer), (gan.discriminators, gan.disc_optimizer)]

    def save(self, folder: Path) -> None:
        gan = self.gan
        save_voice(gan.voice, folder)
        (folder / "training").mkdir()
        scaler = gan.scaler.state_dict()
        training_state.save(folder / GENERATOR, gan.model, gan.optimizer, 0, scaler=scaler)
        training_state.save(folder / DISCRIMINATORS, gan.discriminators, gan.disc_optimizer, 0)

    def load(self, folder: Path) -> None:
        gan = self.gan
        state = training_state.load(folder / GENERATOR, gan.model, gan.optimizer)
        training_state.load(folder / DISCRIMINATORS, gan.discriminators, gan.disc_optimizer)
        if gan.scaler.is_enabled():
            gan.scaler.load_state_dict(state["scaler"])
