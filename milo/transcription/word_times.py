"""Words put where speech was heard. An engine's times come from attention, which says little about silence.

A small model's attention may also let many words share one moment: a word of one frame, cues of 20 ms. So the times are
moved as little as possible (least squares) until every word lies in speech and lasts as long as it takes to say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from milo.audio.vad import FRAME_S, VadOptions
from milo.protocols import WordTiming

Run = tuple[float, float]
"""A stretch of speech, in seconds."""
LEAST_CHARACTER_S = 0.06
"""Fast speech has about 16 characters a second; no word is drawn in to less a character,"""
PACE = 0.5
"""or to less than this share of the mean of its window, where everything is said faster,"""
SHORTEST_S = 0.01
"""or to less than this."""
FIRST_S, LAST_S = 0.3, 0.5
"""So much speech before the first word belongs to it, and behind the last word to that: attention ends early."""
VAD = VadOptions()
LEAD_S = 0.05
"""How far a word may begin before what the voice activity detector took for speech: it wakes up late, and ends late."""


def speech_runs(start_s: float, end_s: float, frame_probabilities: npt.NDArray[np.uint8]) -> list[Run]:
    """Stretches of speech, as the voice activity detector heard them, in a window; from its start, pauses between."""
    first = int(start_s / FRAME_S)
    heard = np.flatnonzero(frame_probabilities[first : math.ceil(end_s / FRAME_S)] >= VAD.release * 255)
    if not len(heard):
        return []
    runs = np.split(heard, np.flatnonzero(np.diff(heard) * FRAME_S > VAD.min_silence_s) + 1)
    return [
        (
            max(0.0, (first + int(run[0])) * FRAME_S - LEAD_S - start_s),
            min(end_s, (first + int(run[-1]) + 1) * FRAME_S) - start_s,
        )
        for run in runs
    ]


def place(words: Sequence[WordTiming], runs: Sequence[Run]) -> list[WordTiming]:
    """The words within the runs (in order, of the same clock as the words), in order, none empty.

    Where the runs are too short for so many words, the detector has missed something: they keep their times.
    """
    clock = SpeechClock(runs)
    if not words or clock.total_s < 2 * SHORTEST_S * len(words):
        return list(words)
    edges = clock.at(np.array([time for word in words for time in (word.start_s, word.end_s)]))
    if edges[0] <= FIRST_S:
        edges[0] = 0.0
    if clock.total_s - edges[-1] <= LAST_S:
        edges[-1] = clock.total_s
    edges = _with_room(edges, _least(words, clock.total_s), clock.total_s)
    if clock.total_s - edges[-1] <= LAST_S:
        edges[-1] = clock.total_s
    placed = []
    for word, start, end in zip(words, edges[::2], edges[1::2], strict=True):
        start_s, end_s = clock.longest(float(start), float(end))
        placed.append(replace(word, start_s=start_s, end_s=end_s))
    return placed


def _least(words: Sequence[WordTiming], total_s: float) -> npt.NDArray[np.float64]:
    """How long each word lasts at least; together at most `total_s`."""
    characters = np.array([max(1, sum(c.isalnum() for c in word.word)) for word in words], float)
    pace_s = PACE * total_s / characters.sum()
    least: npt.NDArray[np.float64] = np.maximum(characters * min(LEAST_CHARACTER_S, pace_s), SHORTEST_S)
    return least


def _with_room(
    edges: npt.NDArray[np.float64], least_s: npt.NDArray[np.float64], total_s: float
) -> npt.NDArray[np.float64]:
    """Starts and ends, moved as little as can be so that each word has its least time and none overlap.

    With the least times taken out, what remains must only not decrease: an isotonic regression.
    """
    taken = np.zeros(len(edges))
    taken[1::2] = np.cumsum(least_s)
    taken[2::2] = taken[1:-1:2]
    free = np.clip(_not_decreasing(edges - taken), 0.0, max(0.0, total_s - taken[-1]))
    return free + taken


def _not_decreasing(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The nearest sequence that does not decrease, by pooling adjacent violators."""
    means: list[float] = []
    counts: list[int] = []
    for value in values.tolist():
        mean, count = value, 1
        while means and means[-1] > mean:
            before, n = means.pop(), counts.pop()
            mean, count = (mean * count + before * n) / (count + n), count + n
        means.append(mean)
        counts.append(count)
    return np.repeat(means, counts)


class SpeechClock:
    """Runs only while there is speech."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._starts = np.array([start for start, _ in runs], float)
        self._lengths = np.array([end - start for start, end in runs], float)
        self._behind = np.cumsum(self._lengths)
        self.total_s = float(self._behind[-1]) if len(runs) else 0.0

    def at(self, times: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """How much speech there was before each time."""
        passed = np.clip(times[:, None] - self._starts[None], 0.0, self._lengths[None])
        total: npt.NDArray[np.float64] = passed.sum(axis=1)
        return total

    def longest(self, start: float, end: float) -> Run:
        """The longest stretch without a pause between two readings of the clock, as times."""
        before = self._behind - self._lengths
        low, high = np.maximum(start, before), np.minimum(end, self._behind)
        run = int(np.argmax(high - low))
        offset = float(self._starts[run] - before[run])
        return offset + float(low[run]), offset + float(high[run])
