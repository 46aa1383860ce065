"""Training batches for `milo-tiny-mg`, made on the fly: window -> log-mel, decoder input, labels, CTC target.

Batch number `step` of a seed is always the same one. Letters used in shapes: B windows, T log-mel frames (10 ms),
L decoder tokens.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypedDict

import numpy as np
import torch
from torch.utils.data import Dataset

from trainer.corpus import corpus
from trainer.corpus.corpus import Kind, Window
from trainer.corpus.effects import RATE_HZ
from trainer.tiny.whisper_targets import IGNORE, Targets, letters_of

HOP = 160
FULL_S = 30.0
LANGUAGE_SHARE = {"mg": 0.88, "fr": 0.06, "en": 0.06}
BATCH_SIZE: dict[Kind, int] = {"short": 16, "packed": 5, "full": 2}
"""Windows in a batch of each kind: 50 to 60 s of audio each."""
SHORT_LENGTHS = ((range(1, 27), 22, 0.42), (range(27, 42), 16, 0.35), (range(42, 10_000), 10, 0.23))
"""Letters of the sentences in one batch of short windows, its size, its share: equally long ones need no padding."""
NO_SPEECH_SHARE, PROMPT_SHARE = 0.05, 0.03


class Recording(TypedDict, total=False):
    """How a window is spoken and recorded: options of `corpus.window`."""

    voices: corpus.VoicePool
    clean: bool


EASY: Recording = {"voices": "few", "clean": True}
EASY_SHARE = (0.95, 0.3)
"""of the windows while the model learns to align, and later"""
POOLS = (230, 230, 900)
"""Different batches of each polish: about 3000 windows, at last 11,000."""
KINDS = ((0.8, 0.15, 0.05), (0.8, 0.15, 0.05), (0.6, 0.29, 0.11))
"""Share of short, packed and full batches in each polish."""


@dataclass
class Batch:
    mel: torch.Tensor
    """(B, 80, T) float32"""
    tokens: torch.Tensor
    """(B, L) int64, decoder input"""
    labels: torch.Tensor
    """(B, L) int64, the token that follows each input token; IGNORE where nothing is asked"""
    spans: torch.Tensor
    """(B, L, 2) int64, the encoder frames from which to which each label is spoken; -1 where that is not known"""
    letters: torch.Tensor
    """(sum of CTC target lengths,) int64, 0 is the blank"""
    letter_counts: torch.Tensor
    """(B,)"""
    frames: torch.Tensor
    """(B,) encoder frames (20 ms) that are not padding"""


@lru_cache(maxsize=1)
def mel_filters() -> torch.Tensor:
    """(201, 80): the filters of Whisper's stock feature extractor."""
    from transformers import WhisperFeatureExtractor

    return torch.from_numpy(np.asarray(WhisperFeatureExtractor(feature_size=80).mel_filters, dtype=np.float32))


def log_mel(audio: torch.Tensor) -> torch.Tensor:
    """(B, n) audio -> (B, 80, n // 160), exactly as `WhisperFeatureExtractor` does it, for any n."""
    spectrum = torch.stft(audio, 400, HOP, window=torch.hann_window(400), return_complex=True)[..., :-1]
    mel = mel_filters().T @ (spectrum.abs() ** 2).contiguous()
    log = mel.clamp(min=1e-10).log10()
    log = torch.maximum(log, log.amax(dim=(1, 2), keepdim=True) - 8.0)
    return (log + 4.0) / 4.0


def spec_augment(mel: torch.Tensor, rng: random.Random) -> None:
    """Blanks a few mel bands and short stretches in place (Park et al. 2019), gently: the model is small."""
    for row in mel:  # (80, T)
        if rng.random() < 0.4:
            at, width = rng.randrange(80), rng.randint(1, 10)
            row[at : at + width] = row.mean()
        if rng.random() < 0.3:
            at, width = rng.randrange(row.shape[1]), rng.randint(1, 12)
            row[:, at : at + width] = row.mean()


def collate(windows: list[Window], targets: Targets, rng: random.Random, *, full: bool) -> Batch:
    """full: every window padded with zeros to 30 s, as stock tools do; else to a little more than the longest."""
    longest = max(len(w.audio) for w in windows)
    padded = longest + int(rng.uniform(0, 0.6) * RATE_HZ) if rng.random() < 0.6 else longest
    samples = int(FULL_S * RATE_HZ) if full else max(RATE_HZ, -(-padded // (HOP * 16)) * HOP * 16)
    audio = torch.zeros(len(windows), samples)
    for row, window in zip(audio, windows, strict=True):
        row[: len(window.audio)] = torch.from_numpy(window.audio)
    mel = log_mel(audio)
    prompted = rng.random() < PROMPT_SHARE
    triples = [targets(window, rng, prompted) for window in windows]
    length = max(len(tokens) for tokens, _, _ in triples)
    tokens = torch.full((len(windows), length), targets.end)
    labels = torch.full((len(windows), length), IGNORE)
    spans = torch.full((len(windows), length, 2), -1)
    for row, (inputs, outputs, frames) in enumerate(triples):
        tokens[row, : len(inputs)] = torch.tensor(inputs)
        labels[row, : len(outputs)] = torch.tensor(outputs)
        spans[row, : len(frames)] = torch.tensor(frames)
    letters = [letters_of(window.text) for window in windows]
    return Batch(
        mel,
        tokens,
        labels,
        spans,
        torch.tensor([letter for row in letters for letter in row], dtype=torch.long),
        torch.tensor([len(row) for row in letters]),
        torch.tensor([max(1, -(-len(window.audio) // (2 * HOP))) for window in windows]),
    )


def training_window(
    rng: random.Random, kind: Kind, letters: range, length_s: float | None, options: Recording
) -> Window:
    """One window as it is trained on: some language, or now and then nobody speaking."""
    if rng.random() < NO_SPEECH_SHARE:
        top_s = {"short": 4.0, "packed": 12.0, "full": 30.0}[kind]
        return corpus.no_speech_window(rng, rng.uniform(0.5, length_s or top_s))
    language = rng.choices(list(LANGUAGE_SHARE), list(LANGUAGE_SHARE.values()))[0]
    return corpus.window(rng, kind, language=language, letters=letters, length_s=length_s, **options)


class TrainingBatches(Dataset[Batch]):
    """Batch `step` of `steps`. First mostly single sentences, then also long windows, as the model learns to align.

    From the first of `polish` on: a fixed pool of batches, half of them clean, that come round again, each time blanked
    elsewhere; at each further step of `polish` another pool (`POOLS`). A model this small learns more from hearing 3000
    windows often than endless ones once; what it has learnt then carries over to more.
    """

    def __init__(
        self,
        tokenizer: Any,
        seed: int,
        steps: int,
        *,
        warm_up: int = 0,
        polish: Sequence[int] = (),
        scale: float = 1.0,
    ) -> None:
        self.targets, self.seed, self.steps, self.warm_up, self.scale = Targets(tokenizer), seed, steps, warm_up, scale
        self.polish = polish
        self._pool: dict[int, Batch] = {}

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Batch:
        torch.set_num_threads(1)
        if pool := sum(step >= start for start in self.polish):
            return self._polishing(step, pool - 1)
        weights = (0.94, 0.04, 0.02) if step < self.warm_up else (0.62, 0.28, 0.1)
        easy = EASY_SHARE[0] if step < self.warm_up else EASY_SHARE[1]
        rng = random.Random(f"{self.seed}/{step}")
        batch = self._make(rng, weights, lambda: EASY if rng.random() < easy else {})
        spec_augment(batch.mel, rng)
        return batch

    def _polishing(self, step: int, pool: int) -> Batch:
        pool = min(pool, len(POOLS) - 1)
        number = sum(POOLS[:pool]) + step % POOLS[pool]
        if number not in self._pool:
            rng = random.Random(f"{self.seed}/polish/{number}")
            voices: tuple[corpus.VoicePool, ...] = ("several",) if pool == 0 else ("several", "all")

            def options() -> Recording:
                clean = rng.random() < 0.5
                return {"voices": voices[0] if len(voices) == 1 else rng.choice(voices), "clean": clean}

            self._pool[number] = self._make(rng, KINDS[pool], options)
        batch = self._pool[number]
        mel = batch.mel.clone()
        spec_augment(mel, random.Random(f"{self.seed}/{step}"))
        return replace(batch, mel=mel)

    def _make(self, rng: random.Random, weights: tuple[float, float, float], options: Callable[[], Recording]) -> Batch:
        kind: Kind = rng.choices(("short", "packed", "full"), weights)[0]
        size, letters = BATCH_SIZE[kind], corpus.ANY_LENGTH
        if kind == "short":
            letters, size, _ = rng.choices(SHORT_LENGTHS, [share for *_, share in SHORT_LENGTHS])[0]
        length_s = rng.uniform(3, 12) if kind == "packed" else None
        count = max(2, round(size * self.scale))
        windows = [training_window(rng, kind, letters, length_s, options()) for _ in range(count)]
        return collate(windows, self.targets, rng, full=kind == "full")
