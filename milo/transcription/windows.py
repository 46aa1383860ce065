"""Speech spans into windows for an STT engine: long spans cut at pauses, short neighbours packed together.

A window is one slice of the recording, or several with the long silences between them left out (`filling`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from milo.audio.silero import FRAME
from milo.audio.vad import SAMPLE_RATE_HZ, Span
from milo.errors import Invalid
from milo.protocols import Samples, WindowText
from milo.transcription.filling import SHORTENED_S, fill
from milo.transcription.pauses import Speech, find_pause

FILL_FROM_S = 15.0
"""A model that packs windows of this length hears long ones well; one of short windows wants sentences whole."""
_PATIENCE = 3
"""Where no pause is clear, windows of so many `pack_window_s` are looked through before a cut is made all the same."""


@dataclass(frozen=True)
class Window:
    """What the engine hears at once, with the speech spans in it, all in seconds of the original."""

    start_s: float
    end_s: float
    spans: tuple[tuple[float, float], ...]
    pieces: tuple[tuple[float, float], ...] = ()
    """The slices that are heard one right after the other; none: the one from start to end."""

    @property
    def slices(self) -> tuple[tuple[float, float], ...]:
        return self.pieces or ((self.start_s, self.end_s),)

    @property
    def duration_s(self) -> float:
        """Of what the engine hears."""
        return sum(end - start for start, end in self.slices)

    def samples(self, speech: Speech) -> Samples:
        """What the engine hears."""
        edges = [(round(start * SAMPLE_RATE_HZ), round(end * SAMPLE_RATE_HZ)) for start, end in self.slices]
        return np.concatenate([speech.slice(start, end) for start, end in edges])

    def recorded_s(self, heard_s: float, *, end: bool = False) -> float:
        """Seconds behind `start_s` in the recording, of a moment in what the engine hears.

        A moment where two slices meet is the beginning of the later one, or, as an `end`, the end of the earlier.
        """
        for low, high in self.slices:
            if heard_s < high - low or (end and heard_s <= high - low):
                return low - self.start_s + heard_s
            heard_s -= high - low
        return self.end_s - self.start_s + heard_s

    def heard_s(self, recorded_s: float) -> float:
        """The moment in what the engine hears, of one behind `start_s` in the recording: inverse of `recorded_s`."""
        at_s = self.start_s + recorded_s
        return sum(min(max(at_s - low, 0.0), high - low) for low, high in self.slices)

    def timed(self, text: WindowText) -> WindowText:
        """A text of what the engine heard, with its times in the recording, behind `start_s`."""
        if not self.pieces:
            return text
        words = [
            replace(word, start_s=self.recorded_s(word.start_s), end_s=self.recorded_s(word.end_s, end=True))
            for word in text.words
        ]
        return replace(text, words=words)


def plan_windows(
    decoded: Speech, *, pack_window_s: float, max_window_s: float, max_gap_s: float = 1.5, filled: bool = False
) -> list[Window]:
    """Windows in order, without overlap, that cover all speech. Silence alone gives none.

    Neighbouring spans share a window while it stays within `pack_window_s` and the pause between them within
    `max_gap_s`. A span longer than `pack_window_s` is cut at clear pauses. No window is longer than `max_window_s`, or
    than three times `pack_window_s`, beyond which a model hears little: where a longer span has no clear pause, it is
    cut at its deepest one. `filled`: see `filling`; for an engine that computes as much for a short window as for a
    long one. Raises `Invalid` for a `max_window_s` under one second.
    """
    if max_window_s < 1 or pack_window_s <= 0:
        raise Invalid(
            f"windows of at most {max_window_s} s, packed to {pack_window_s} s, are too short; use 1 s or more"
        )
    longest = int(min(max_window_s, max(1.0, _PATIENCE * pack_window_s)) * SAMPLE_RATE_HZ)
    packed = min(int(pack_window_s * SAMPLE_RATE_HZ), longest)
    if filled:
        return [_window(group, round(SHORTENED_S * SAMPLE_RATE_HZ)) for group in fill(decoded, packed, longest)]
    pieces = [piece for span in decoded.span_samples for piece in _cut(decoded, span, packed, longest)]
    groups: list[list[Span]] = []
    for start, end in pieces:
        last = groups[-1] if groups else None
        if last and end - last[0][0] <= packed and start - last[-1][1] <= max_gap_s * SAMPLE_RATE_HZ:
            last.append((start, end))
        else:
            groups.append([(start, end)])
    return [_window(group) for group in groups]


def heard_probabilities(speech: Speech, windows: Sequence[Window]) -> npt.NDArray[np.uint8]:
    """The speech probability of each frame; 0 in what no window hears."""
    if not any(window.pieces for window in windows):
        return speech.frame_probabilities
    heard = np.zeros(len(speech.frame_probabilities), bool)
    for start, end in (piece for window in windows for piece in window.slices):
        heard[round(start * SAMPLE_RATE_HZ) // FRAME : -(-round(end * SAMPLE_RATE_HZ) // FRAME)] = True
    return np.where(heard, speech.frame_probabilities, np.uint8(0))


def _window(group: list[Span], longest_gap: int | None = None) -> Window:
    """Of spans in order; a pause longer than `longest_gap` samples is left out but for half of that at either end."""
    spans: list[Span] = []
    pieces: list[Span] = []
    for start, end in group:
        gap = start - pieces[-1][1] if pieces else 0
        if spans and gap == 0:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
        if not pieces:
            pieces.append((start, end))
        elif longest_gap is None or gap <= longest_gap:
            pieces[-1] = (pieces[-1][0], end)
        else:
            pieces[-1] = (pieces[-1][0], pieces[-1][1] + longest_gap // 2)
            pieces.append((start - longest_gap // 2, end))
    return Window(spans[0][0] / SAMPLE_RATE_HZ, spans[-1][1] / SAMPLE_RATE_HZ, _seconds(spans), _several(pieces))


def _several(pieces: list[Span]) -> tuple[tuple[float, float], ...]:
    return _seconds(pieces) if len(pieces) > 1 else ()


def _seconds(spans: list[Span]) -> tuple[tuple[float, float], ...]:
    return tuple((start / SAMPLE_RATE_HZ, end / SAMPLE_RATE_HZ) for start, end in spans)


def _cut(decoded: Speech, span: Span, packed: int, longest: int) -> Iterator[Span]:
    """One span as pieces of at most `longest` samples, and of at most `packed` where pauses allow.

    No cut is within a quarter window of an end: a crumb of a word or two is hard to understand.
    """
    start, end = span
    crumb = packed // 4
    while end - start > packed:
        cut = find_pause(decoded, start + crumb, min(start + packed, end - crumb), clear=True)
        if cut is None:
            cut = find_pause(decoded, start + packed, min(start + longest, end - crumb), clear=True, which="first")
        if cut is None:
            if end - start <= longest:
                break
            cut = find_pause(decoded, start + longest // 2, min(start + longest, end - longest // 4), clear=False)
        if cut is None:
            cut = start + longest // 2
        yield start, cut
        start = cut
    yield start, end
