"""Pauses in speech: where a recording may be cut. By the fall of the level, and of the probability of speech."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from milo.audio.silero import FRAME
from milo.audio.vad import SAMPLE_RATE_HZ, Span

_HOP = SAMPLE_RATE_HZ // 100
"""10 ms: the step at which the level is measured, and a cut is placed."""
_CLEAR_HOPS, _BRIEF_HOPS = 20, 10
"""200 ms: longer than the closure of a stop consonant, so a pause between words. 100 ms: where there is none such."""
_CLEAR_DB, _CLEAR_PROBABILITY = 18.0, 0.35
_PROBABILITY_DB = 15.0
"""What a fall of the VAD's probability from 1 to 0 counts beside the fall of the level."""
_FLOOR_DB = -90.0
_GOOD = 0.6
"""A pause is as good as the deepest where it scores this share of it."""


class Speech(Protocol):
    """What a plan is made from; `speech.DecodedSpeech` is one."""

    @property
    def span_samples(self) -> list[Span]: ...
    @property
    def frame_probabilities(self) -> npt.NDArray[np.uint8]: ...
    def slice(self, start: int, end: int) -> npt.NDArray[np.float32]: ...


Which = Literal["deepest", "first", "last"]


def find_pause(decoded: Speech, low: int, high: int, *, clear: bool, which: Which = "deepest") -> int | None:
    """The middle of a pause within [low, high]; None where there is no (clear) one.

    `last` is the last that is about as deep as the deepest; `first` is any.
    """
    hops = _CLEAR_HOPS if clear else _BRIEF_HOPS
    count = (high - low) // _HOP
    if count < hops:
        return None
    level, probability = _level_db(decoded, low, count), _probabilities(decoded, low, count)
    loudest = sliding_window_view(level, hops).max(axis=1)
    surest = sliding_window_view(probability, hops).mean(axis=1)
    depth = np.percentile(level, 80) - loudest
    score = depth + _PROBABILITY_DB * (1 - surest)
    if clear:
        score[(depth < _CLEAR_DB) & (surest > _CLEAR_PROBABILITY)] = -np.inf
    if not np.isfinite(score).any():
        return None
    if which == "last":
        score[score < score.max() - (1 - _GOOD) * abs(score.max())] = -np.inf
        best = len(score) - 1 - _first_run(score[::-1])
    else:
        best = _first_run(score) if which == "first" else int(np.argmax(score))
    return low + (best + hops // 2) * _HOP


def _first_run(score: npt.NDArray[np.float64]) -> int:
    """Index of the best score in the first run of finite ones."""
    finite = np.isfinite(score)
    begin = int(np.argmax(finite))
    length = int(np.argmin(finite[begin:])) or len(finite) - begin
    return begin + int(np.argmax(score[begin : begin + length]))


def _level_db(decoded: Speech, low: int, count: int) -> npt.NDArray[np.float64]:
    """RMS level of `count` hops from `low`, in dB of full scale."""
    samples = decoded.slice(low, low + count * _HOP)
    padded = np.zeros(count * _HOP, np.float64)
    padded[: len(samples)] = samples - samples.mean() if len(samples) else 0
    power = np.square(padded.reshape(count, _HOP)).mean(axis=1)
    level: npt.NDArray[np.float64] = 10 * np.log10(np.maximum(power, 10 ** (_FLOOR_DB / 10)))
    return level


def _probabilities(decoded: Speech, low: int, count: int) -> npt.NDArray[np.float64]:
    """Speech probability at each hop, in [0, 1]; 1 where none was measured."""
    frames = (low + _HOP // 2 + np.arange(count) * _HOP) // FRAME
    known = decoded.frame_probabilities
    if not len(known):
        return np.ones(count)
    return known[np.minimum(frames, len(known) - 1)] / 255.0
