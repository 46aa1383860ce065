"""Speech spans into windows for an STT engine: long spans cut at pauses, short neighbours packed together.

Every window is one contiguous slice of the original time line, so that times inside it need only an offset.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from milo.audio.silero import FRAME
from milo.audio.vad import SAMPLE_RATE_HZ, Span
from milo.errors import Invalid

_HOP = SAMPLE_RATE_HZ // 100
"""10 ms: the step at which the level is measured, and a cut is placed."""
_CLEAR_HOPS, _BRIEF_HOPS = 20, 10
"""200 ms: longer than the closure of a stop consonant, so a pause between words. 100 ms: where there is none such."""
_CLEAR_DB, _CLEAR_PROBABILITY = 18.0, 0.35
_PROBABILITY_DB = 15.0
"""What a fall of the VAD's probability from 1 to 0 counts beside the fall of the level."""
_FLOOR_DB = -90.0
_PATIENCE = 3
"""Where no pause is clear, windows of so many `pack_window_s` are looked through before a cut is made all the same."""


class Speech(Protocol):
    """What a plan is made from; `speech.DecodedSpeech` is one."""

    @property
    def span_samples(self) -> list[Span]: ...
    @property
    def frame_probabilities(self) -> npt.NDArray[np.uint8]: ...
    def slice(self, start: int, end: int) -> npt.NDArray[np.float32]: ...


@dataclass(frozen=True)
class Window:
    """A slice of the recording for the engine, with the speech spans in it, all in seconds of the original."""

    start_s: float
    end_s: float
    spans: tuple[tuple[float, float], ...]

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s


def plan_windows(decoded: Speech, *, pack_window_s: float, max_window_s: float, max_gap_s: float = 1.5) -> list[Window]:
    """Windows in order, without overlap, that cover all speech. Silence alone gives none.

    Neighbouring spans share a window while it stays within `pack_window_s` and the pause between them within
    `max_gap_s`. A span longer than `pack_window_s` is cut at clear pauses. No window is longer than `max_window_s`, or
    than three times `pack_window_s`, beyond which a model hears little: where a longer span has no clear pause, it is
    cut at its deepest one. Raises `Invalid` for a `max_window_s` under one second.
    """
    if max_window_s < 1 or pack_window_s <= 0:
        raise Invalid(
            f"windows of at most {max_window_s} s, packed to {pack_window_s} s, are too short; use 1 s or more"
        )
    longest = int(min(max_window_s, max(1.0, _PATIENCE * pack_window_s)) * SAMPLE_RATE_HZ)
    packed = min(int(pack_window_s * SAMPLE_RATE_HZ), longest)
    pieces = [piece for span in decoded.span_samples for piece in _cut(decoded, span, packed, longest)]
    groups: list[list[Span]] = []
    for start, end in pieces:
        last = groups[-1] if groups else None
        if last and end - last[0][0] <= packed and start - last[-1][1] <= max_gap_s * SAMPLE_RATE_HZ:
            last.append((start, end))
        else:
            groups.append([(start, end)])
    return [_window(group) for group in groups]


def _window(pieces: list[Span]) -> Window:
    spans: list[Span] = []
    for start, end in pieces:
        if spans and spans[-1][1] == start:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    seconds = tuple((start / SAMPLE_RATE_HZ, end / SAMPLE_RATE_HZ) for start, end in spans)
    return Window(seconds[0][0], seconds[-1][1], seconds)


def _cut(decoded: Speech, span: Span, packed: int, longest: int) -> Iterator[Span]:
    """One span as pieces of at most `longest` samples, and of at most `packed` where pauses allow.

    No cut is within a quarter window of an end: a crumb of a word or two is hard to understand.
    """
    start, end = span
    crumb = packed // 4
    while end - start > packed:
        cut = _pause(decoded, start + crumb, min(start + packed, end - crumb), clear=True)
        if cut is None:
            cut = _pause(decoded, start + packed, min(start + longest, end - crumb), clear=True, first=True)
        if cut is None:
            if end - start <= longest:
                break
            cut = _pause(decoded, start + longest // 2, min(start + longest, end - longest // 4), clear=False)
        if cut is None:
            cut = start + longest // 2
        yield start, cut
        start = cut
    yield start, end


def _pause(decoded: Speech, low: int, high: int, *, clear: bool, first: bool = False) -> int | None:
    """The middle of the deepest (or `first`) pause within [low, high]; None where there is no (clear) one."""
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
    best = _first_run(score) if first else int(np.argmax(score))
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
