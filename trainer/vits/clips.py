"""The clips a voice learns from, as tokens and waves, in an order that is the same whenever a training starts.

Letters used in shapes: see `trainer.vits.forward`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from milo.audio.resample import resample
from milo.models.files import read_json
from milo.recipes import Recipe
from milo.settings import Settings
from milo.training.data.row import wrong
from milo.training.runs import Run
from trainer.data.load import Item, load_all, write_document
from trainer.data.measure import Audio
from trainer.vits.forward import Batch
from trainer.vits.model import Voice

DATA_HZ = 16_000
MEMORY_S = 3600.0
"""As many seconds of audio are kept decoded (230 MB at 16 kHz); the rest is decoded whenever it is used."""
PEAK = 0.95
"""Clips that are louder are turned down to it: the decoder ends in tanh."""
SPREAD = 0.15
"""Clips are batched by their lengths, each taken for up to this share longer, so that batches differ every epoch."""


@dataclass(frozen=True)
class Clip:
    """One utterance, its text as the model reads it."""

    item: Item
    tokens: tuple[int, ...]
    speaker: int
    frames: int


def clips_of(voice: Voice, items: Sequence[Item], language: str, speakers: Sequence[str]) -> list[Clip]:
    """Those that can be aligned: with letters, and with at least one frame for each token.

    speakers: names in the order of the model's speaker numbers; empty for a model with one voice.
    """
    clips = []
    for item in items:
        tokens = voice.tokens.encode(voice.readable(item.text, language))
        frames = voice.framing.frames(int(item.duration_s * voice.framing.rate_hz))
        speaker = speakers.index(item.speaker) if item.speaker in speakers else 0
        if len(tokens) > 1 and len(tokens) <= frames:
            clips.append(Clip(item, tuple(tokens), speaker, frames))
    return clips


def speakers_of(voice: Voice, recipe: Recipe, items: Sequence[Item]) -> list[str]:
    """Speakers by the number that the model gets to know them by; none for a model with one voice.

    Raises `Invalid` for more speakers than the model has voices: what it learned would be none of them.
    """
    names = sorted({item.speaker for item in items if item.speaker})
    voices = int(voice.model.config.num_speakers)
    if len(names) > voices:
        raise wrong(
            "columns.speaker",
            f"{recipe.data.source} has {len(names)} speakers, and {voice.base} has"
            f" {'one voice' if voices == 1 else f'{voices} voices'}: `milo tts-data` picks one speaker;"
            " null trains on all of them as if they were one",
        )
    return names if voices > 1 else []


def read_clips(settings: Settings, recipe: Recipe, run: Run, voice: Voice) -> tuple[Clips, Clips, dict[str, Any]]:
    """(for training, held out, dataset.json), the last of which it writes. Raises `Invalid` that names the field."""
    splits = load_all(settings, recipe.data, ("train", "validation"))
    speakers = speakers_of(voice, recipe, [*splits["train"], *splits["validation"]])
    write_document(run.path / "dataset.json", recipe.data, splits.values())
    document = read_json(run.path / "dataset.json")
    parts = []
    for split, items in splits.items():
        clips = clips_of(voice, items, recipe.data.language, speakers)
        if not clips:
            raise wrong("source", f"no clip of the split {split} has text that {voice.base} can read along its audio")
        if len(clips) < len(items) and not run.checkpoints():
            left = sorted({item.id for item in items} - {clip.item.id for clip in clips})
            seen = f"{len(left)} of {len(items)} clips ({split}) have no letters, or more of them than frames"
            run.alert("clips_left_out", f"{seen}, such as {', '.join(left[:5])}", "left out")
        parts.append(Clips(voice, clips))
    return parts[0], parts[1], document


def cut(indices: list[int], pieces: int) -> Iterator[list[int]]:
    """The same clips in so many micro-batches (or fewer)."""
    size = max(1, -(-len(indices) // pieces))
    yield from (indices[at : at + size] for at in range(0, len(indices), size))


class Clips:
    """Clips that give batches; audio that was decoded once is kept, as long as there is room for it."""

    def __init__(self, voice: Voice, clips: Sequence[Clip]) -> None:
        self.voice, self.clips = voice, list(clips)
        self._kept: dict[int, Audio] = {}
        self._kept_s = 0.0

    def __len__(self) -> int:
        return len(self.clips)

    def wave(self, index: int) -> Audio:
        """(frames * hop,) float32 at the model's rate, peaks at most 0.95."""
        if index in self._kept:
            return self._kept[index]
        clip, framing = self.clips[index], self.voice.framing
        audio = resample(clip.item.audio(), DATA_HZ, framing.rate_hz)
        audio = audio * min(1.0, PEAK / max(float(np.abs(audio).max(initial=0)), 1e-9))
        wanted = clip.frames * framing.hop
        wave = np.pad(audio[:wanted], (0, max(0, wanted - len(audio)))).astype(np.float32)
        if self._kept_s + clip.item.duration_s <= MEMORY_S:
            self._kept[index] = wave
            self._kept_s += clip.item.duration_s
        return wave

    def batch(self, indices: Sequence[int]) -> Batch:
        chosen = [self.clips[index] for index in indices]
        longest, most = max(len(clip.tokens) for clip in chosen), max(clip.frames for clip in chosen)
        tokens = torch.zeros(len(chosen), longest, dtype=torch.long)
        mask = torch.zeros(len(chosen), longest, dtype=torch.long)
        wave = torch.zeros(len(chosen), most * self.voice.framing.hop)
        for row, (index, clip) in enumerate(zip(indices, chosen, strict=True)):
            tokens[row, : len(clip.tokens)] = torch.tensor(clip.tokens)
            mask[row, : len(clip.tokens)] = 1
            samples = torch.from_numpy(self.wave(index))
            wave[row, : len(samples)] = samples
        frames = torch.tensor([clip.frames for clip in chosen])
        speakers = torch.tensor([clip.speaker for clip in chosen])
        return Batch(tuple(clip.item.id for clip in chosen), tokens, mask, wave, frames, speakers)


class BatchPlan:
    """Which clips make up micro-batch number n, for every n: by the lengths and the seed alone."""

    def __init__(self, seconds: Sequence[float], batch_size: int, batch_audio_s: float, seed: int) -> None:
        self._seconds, self._size, self._most_s, self._seed = list(seconds), batch_size, batch_audio_s, seed
        self._first = [0]
        """Number of the first micro-batch of each epoch."""
        self._epoch: tuple[int, list[list[int]]] = (-1, [])

    def __getitem__(self, number: int) -> tuple[int, list[int]]:
        """(epoch, indices of clips) of micro-batch `number`; both count from 0."""
        while self._first[-1] <= number:
            self._first.append(self._first[-1] + len(self._batches(len(self._first) - 1)))
        epoch = next(e for e in reversed(range(len(self._first) - 1)) if self._first[e] <= number)
        return epoch, self._batches(epoch)[number - self._first[epoch]]

    def epochs(self, number: int) -> float:
        """Epochs done when micro-batch `number` is, such as 1.5."""
        epoch, _ = self[number]
        return epoch + (number + 1 - self._first[epoch]) / len(self._batches(epoch))

    def count(self, epochs: float) -> int:
        """Micro-batches in so many epochs."""
        whole = int(epochs)
        batches = [len(self._batches(epoch)) for epoch in range(whole)]
        part = epochs - whole
        return sum(batches) + (round(part * len(self._batches(whole))) if part else 0)

    def _batches(self, epoch: int) -> list[list[int]]:
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self._cut(random.Random(f"{self._seed}/{epoch}")))
        return self._epoch[1]

    def _cut(self, rng: random.Random) -> list[list[int]]:
        order = sorted(range(len(self._seconds)), key=lambda n: self._seconds[n] * (1 + rng.random() * SPREAD))
        batches: list[list[int]] = [[]]
        for index in order:
            longest = max(self._seconds[other] for other in [*batches[-1], index])
            full = len(batches[-1]) == self._size or longest * (len(batches[-1]) + 1) > self._most_s
            if batches[-1] and full:
                batches.append([])
            batches[-1].append(index)
        rng.shuffle(batches)
        return batches
