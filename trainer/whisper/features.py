"""From a planned micro-batch to tensors: audio decoded and changed, log-mel features, labels. Made when needed.

Every random choice follows from (seed, epoch, item), so a batch made again is the same one. Letters used in shapes:
B examples, F feature frames (10 ms), L label tokens.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from milo.engines.whisper.checkpoint import Checkpoint
from milo.engines.whisper.features import FRAMES_PER_S, RATE_HZ, log_mel
from milo.recipes import Augment
from trainer.corpus import effects
from trainer.data.load import Item
from trainer.data.measure import Audio
from trainer.whisper.plan import PAUSE_S, Example, MicroBatch, Plan

IGNORE = -100
AHEAD = 4
"""Micro-batches made ahead of the training, in threads."""
TIME_MASKS, MEL_MASKS = 2, 2
MAX_TIME_SHARE, MAX_MEL_SHARE = 0.05, 0.15
"""SpecAugment (Park et al. 2019): at most this share of the frames and of the bands in one mask."""


class Labels:
    """Texts as the decoder's tokens, as stock fine-tuning of Whisper writes them."""

    def __init__(self, checkpoint: Checkpoint, language: str) -> None:
        self.checkpoint = checkpoint
        self.language = language
        start = checkpoint.start(checkpoint.language_of(language), "transcribe")
        self.head = [*start[1:], checkpoint.no_timestamps]
        self.limit = checkpoint.max_positions - len(self.head) - 1

    def text(self, text: str) -> list[int]:
        """The tokens of the text alone."""
        return list(self.checkpoint.tokenizer.encode(f" {text}", add_special_tokens=False).ids)

    def __call__(self, text: str) -> list[int]:
        """Labels: language, task, no timestamps, text, end. What the decoder is given is these, one place later."""
        return [*self.head, *self.text(text)[: self.limit], self.checkpoint.eot]


def rng_for(*parts: object) -> np.random.Generator:
    seed = hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:8]
    return np.random.default_rng(int.from_bytes(seed, "big"))


def with_noise(audio: Audio, bounds_db: tuple[float, float], rng: np.random.Generator) -> Audio:
    """`audio` with coloured noise at a signal-to-noise ratio drawn from `bounds_db`."""
    noise = effects.coloured_noise(rng, len(audio))
    level = float(np.sqrt((audio**2).mean())) * 10 ** (-rng.uniform(*bounds_db) / 20)
    noisy: Audio = audio + noise / np.float32(noise.std() + 1e-9) * np.float32(level)
    return noisy


def spec_augment(features: Audio, frames: int, rng: np.random.Generator) -> None:
    """Blank some bands and some stretches of the first `frames` of (mels, F) in place."""
    mean = features[:, :frames].mean()
    for _ in range(TIME_MASKS):
        width = int(rng.integers(0, max(1, int(frames * MAX_TIME_SHARE)) + 1))
        at = int(rng.integers(0, max(1, frames - width)))
        features[:, at : at + width] = mean
    for _ in range(MEL_MASKS):
        width = int(rng.integers(0, max(1, int(len(features) * MAX_MEL_SHARE)) + 1))
        at = int(rng.integers(0, max(1, len(features) - width)))
        features[at : at + width] = mean


class Batches:
    """Micro-batches as tensors, in order, made ahead in threads. `start` is asked for when the iteration begins."""

    def __init__(self, plan: Plan, labels: Labels, seed: int, augment: Augment, threads: int = 2) -> None:
        self.plan, self.labels, self.seed, self.augment, self.threads = plan, labels, seed, augment, threads
        self.count = plan.steps * plan.schedule.gradient_accumulation
        self.start = 0
        """Number of the first micro-batch to come."""

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[dict[str, Any]]:
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="features")
        waiting: deque[Future[dict[str, Any]]] = deque()
        try:
            for number in range(self.start, self.count):
                waiting.append(pool.submit(self.make, number))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def make(self, number: int) -> dict[str, Any]:
        """`input_features` (B, mels, F) float32, `labels` (B, L) int64; and for the log `number`, `ids`, seconds."""
        planned = self.plan[number]
        audio = [self.heard(planned.epoch, example) for example in planned.examples]
        frames = round(planned.window_s * FRAMES_PER_S)
        features = np.stack([log_mel(one, frames, self.labels.checkpoint.n_mels) for one in audio])
        if self.augment.spec_augment:
            for row, example in enumerate(planned.examples):
                rng = rng_for("blank", self.seed, planned.epoch, self.plan.items[example[0]].id)
                spec_augment(features[row], min(frames, max(1, len(audio[row]) // 160)), rng)
        texts = [" ".join(self.plan.items[at].text for at in example) for example in planned.examples]
        return {
            "input_features": torch.from_numpy(features),
            "labels": stacked([self.labels(text) for text in texts]),
            "number": number,
            "ids": [self.plan.items[at].id for example in planned.examples for at in example],
            "audio_s": sum(len(one) for one in audio) / RATE_HZ,
            "padded_s": planned.window_s * len(audio),
        }

    def heard(self, epoch: int, example: Example) -> Audio:
        """The audio of an example as it is in this epoch, float32 at 16 kHz."""
        pause = np.zeros(round(PAUSE_S * RATE_HZ), np.float32)
        pieces: list[Audio] = []
        for at in example:
            pieces += [pause, self._item(epoch, at)]
        return np.concatenate(pieces[1:])

    def _item(self, epoch: int, at: int) -> Audio:
        item: Item = self.plan.items[at]
        audio = item.audio()
        factor = self.plan.speed(epoch, at)
        if factor != 1:
            audio = effects.resample(audio, RATE_HZ * factor)
        if self.augment.noise_snr_db is not None:
            audio = with_noise(audio, self.augment.noise_snr_db, rng_for("noise", self.seed, epoch, item.id))
        return audio.astype(np.float32, copy=False)


def stacked(rows: Sequence[list[int]]) -> torch.Tensor:
    """(B, L), padded with IGNORE."""
    out = torch.full((len(rows), max(map(len, rows))), IGNORE, dtype=torch.long)
    for number, row in enumerate(rows):
        out[number, : len(row)] = torch.tensor(row)
    return out


__all__ = ["Batches", "Labels", "MicroBatch", "rng_for", "spec_augment", "stacked", "with_noise"]
