"""Which examples make up which micro-batch: bucketed by length, bounded by seconds of audio, the same for a seed.

A micro-batch has a number; what is in it depends on the seed, the data and that number alone, so a training goes on
exactly where it was by asking for the next number. Knows lengths, no audio.
"""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from milo.recipes import Schedule
from trainer.data.load import Item

Example = tuple[int, ...]
"""Numbers of the items that are heard one after another in one window; more than one when short ones are packed."""
PAUSE_S = 0.3
"""Silence between packed utterances."""
POOL_BATCHES = 50
"""Batches whose examples are sorted by length together: little padding, and still other neighbours in each epoch."""
STEP_S = 0.16
"""Windows are multiples of this long."""


@dataclass(frozen=True)
class Windows:
    """What lengths a model takes; see `milo.models.registry.describe`."""

    shortest_s: float
    longest_s: float
    pack_s: float

    def for_length(self, seconds: float) -> float:
        """The window that audio of this length is padded to."""
        whole = math.ceil(max(seconds, self.shortest_s) / STEP_S - 1e-6) * STEP_S
        return min(self.longest_s, round(whole, 3))


@dataclass(frozen=True)
class MicroBatch:
    epoch: int
    examples: tuple[Example, ...]
    window_s: float


class Plan:
    """The micro-batches of a training. `tokens` are label tokens of each item, `most_tokens` the decoder's limit."""

    def __init__(
        self, items: Sequence[Item], schedule: Schedule, windows: Windows, tokens: Sequence[int], most_tokens: int
    ) -> None:
        self.items, self.schedule, self.windows = items, schedule, windows
        self.tokens, self.most_tokens = tokens, most_tokens
        self._lock = threading.Lock()
        self._starts = [0]
        """Number of the first micro-batch of each epoch known so far, and of the one after."""
        self.epoch = lru_cache(maxsize=2)(self._epoch)
        self.steps = schedule.max_steps or self._steps_of(schedule.epochs or 1)

    def _steps_of(self, epochs: float) -> int:
        """Optimizer steps; a last one that the epochs would fill only in part is filled from the next."""
        whole = int(epochs)
        for epoch in range(whole):
            self._start_of(epoch + 1)
        batches = self._start_of(whole) + round((epochs - whole) * len(self.epoch(whole)))
        return max(1, math.ceil(batches / self.schedule.gradient_accumulation))

    def _start_of(self, epoch: int) -> int:
        with self._lock:
            while len(self._starts) <= epoch:
                self._starts.append(self._starts[-1] + len(self.epoch(len(self._starts) - 1)))
            return self._starts[epoch]

    def __getitem__(self, number: int) -> MicroBatch:
        epoch = 0
        while self._start_of(epoch + 1) <= number:
            epoch += 1
        return self.epoch(epoch)[number - self._starts[epoch]]

    def epochs_at(self, number: int) -> float:
        """How many times the data has been gone through before micro-batch `number`."""
        epoch = 0
        while self._start_of(epoch + 1) <= number:
            epoch += 1
        return epoch + (number - self._starts[epoch]) / len(self.epoch(epoch))

    def length_s(self, epoch: int, example: Example) -> float:
        """Seconds of an example as it is heard in this epoch: speed and pauses are counted."""
        spoken = sum(self.items[at].duration_s / self.speed(epoch, at) for at in example)
        return spoken + PAUSE_S * (len(example) - 1)

    def speed(self, epoch: int, at: int) -> float:
        """The factor by which this item is spoken faster in this epoch."""
        bounds = self.schedule.augment.speed
        if bounds is None:
            return 1.0
        drawn = random.Random(f"speed/{self.schedule.seed}/{epoch}/{self.items[at].id}").uniform(*bounds)
        return max(drawn, self.items[at].duration_s / self.windows.longest_s)  # slower must not be longer than a window

    def _epoch(self, epoch: int) -> list[MicroBatch]:
        rng = random.Random(f"order/{self.schedule.seed}/{epoch}")
        order = list(range(len(self.items)))
        rng.shuffle(order)
        examples = self._packed(epoch, order) if self.schedule.pack else [(at,) for at in order]
        lengths = {example: self.length_s(epoch, example) for example in examples}
        pool = POOL_BATCHES * self.schedule.batch_size
        batches: list[MicroBatch] = []
        for start in range(0, len(examples), pool):
            part = sorted(examples[start : start + pool], key=lambda example: (lengths[example], example))
            batches += self._cut(epoch, part, lengths)
        rng.shuffle(batches)
        return batches

    def _cut(self, epoch: int, ordered: list[Example], lengths: dict[Example, float]) -> list[MicroBatch]:
        batches: list[MicroBatch] = []
        held: list[Example] = []
        for example in ordered:  # growing lengths: the last one of a batch decides its window
            window_s = self.windows.for_length(lengths[example])
            if held and (
                len(held) >= self.schedule.batch_size or (len(held) + 1) * window_s > self.schedule.batch_audio_s + 1e-6
            ):
                batches.append(self._batch(epoch, held, lengths))
                held = []
            held.append(example)
        return [*batches, self._batch(epoch, held, lengths)] if held else batches

    def _batch(self, epoch: int, held: list[Example], lengths: dict[Example, float]) -> MicroBatch:
        return MicroBatch(epoch, tuple(held), self.windows.for_length(lengths[held[-1]]))

    def _packed(self, epoch: int, order: list[int]) -> list[Example]:
        """Utterances of one speaker joined, in this epoch's order, as long as they fit the window and the decoder."""
        open_ones: dict[str | None, list[int]] = {}
        done: list[Example] = []
        for at in order:
            speaker = self.items[at].speaker
            held = open_ones.get(speaker, [])
            joined = (*held, at)
            fits = self.length_s(epoch, joined) <= self.windows.pack_s
            if held and fits and sum(self.tokens[one] for one in joined) <= self.most_tokens:
                held.append(at)
                continue
            if held:
                done.append(tuple(held))
            open_ones[speaker] = [at]
        return done + [tuple(held) for held in open_ones.values()]
