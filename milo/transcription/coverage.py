"""Speech that no word covers, and windows decoded again because of it.

A model may stop after the first sentence of a window, or write a few words for many: the voice activity detector knows
better. Such a window is decoded again by its spans of speech; what stays without words is told.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from milo.audio.vad import SAMPLE_RATE_HZ
from milo.protocols import DecodeOptions, KeptLanguage, Samples, Transcriber, WindowText
from milo.transcription.windows import Window
from milo.transcription.word_times import Run, place

UNCOVERED_S = 1.0
"""So much speech of a window without words is no hesitation;"""
UNCOVERED_SHARE = 0.25
"""nor is this share of it."""
SLOWEST, FASTEST = 5.0, 40.0
"""Characters a second of speech: slow dictation has 8, the fastest speech 30."""
RATED_S = 2.0
"""In less speech than this, the rate says nothing."""
DOUBTFUL = 0.5
"""Confidence below which a window is told to be doubtful."""
SHOWN = 10
"""Most stretches that a warning names."""


def uncovered(text: WindowText, runs: Sequence[Run]) -> list[Run]:
    """Stretches of the runs of speech without words, in seconds of the window; none while they are too short to matter.

    Without word times only the number of characters tells: then it is all or none.
    """
    speech_s = _length_s(runs)
    if not text.text.strip():
        return list(runs) if speech_s >= UNCOVERED_S else []
    if _rate_is_absurd(text, speech_s) and not text.words:
        return list(runs)
    words = [(word.start_s, word.end_s) for word in place(text.words, runs)]
    gaps = [gap for run in runs for gap in _gaps(run, words)] if words else []
    return gaps if _length_s(gaps) >= max(UNCOVERED_S, UNCOVERED_SHARE * speech_s) else []


def _length_s(runs: Sequence[Run]) -> float:
    return sum(end - start for start, end in runs)


def _rate_is_absurd(text: WindowText, speech_s: float) -> bool:
    return speech_s >= RATED_S and not SLOWEST <= len(text.text.strip()) / speech_s <= FASTEST


def _gaps(run: Run, words: Sequence[Run]) -> list[Run]:
    start, behind = run
    gaps = []
    for first, end in words:
        if end > start and first < behind:
            gaps.append((start, min(first, behind)))
            start = max(start, end)
    gaps.append((start, behind))
    return [(low, high) for low, high in gaps if high - low >= UNCOVERED_S / 4]


def transcribe(
    engine: Transcriber,
    windows: Sequence[Window],
    samples: Sequence[Samples],
    runs: Sequence[Sequence[Run]],
    options: DecodeOptions,
    kept: Sequence[KeptLanguage | None] = (),
) -> list[WindowText]:
    """Text of each window, with its times in the recording.

    One whose words leave speech of its `runs` uncovered is decoded again by its spans; the second text is kept where
    it covers more. What was taken for silence stays silent.
    """
    heard = engine.transcribe(samples, options, kept)
    texts = [window.timed(text) for window, text in zip(windows, heard, strict=True)]
    again = [n for n, window in enumerate(windows) if len(window.spans) > 1 and texts[n].text and _lost(texts, runs, n)]
    pieces = [(n, start_s - windows[n].start_s, end_s) for n in again for start_s, end_s in windows[n].spans]
    cuts = [_cut(windows[n], samples[n], start_s, end_s - windows[n].start_s) for n, start_s, end_s in pieces]
    parts = engine.transcribe(cuts, options, [kept[n] for n, _, _ in pieces] if kept else ()) if cuts else []
    for n in again:
        mine = [(start_s, part) for (m, start_s, _), part in zip(pieces, parts, strict=True) if m == n and part.text]
        joined = _join(mine) if mine else texts[n]
        if _length_s(uncovered(joined, runs[n])) < _lost(texts, runs, n):
            texts[n] = joined
    return texts


def _cut(window: Window, samples: Samples, start_s: float, end_s: float) -> Samples:
    """What the engine heard between two moments behind the start of a window."""
    low, high = (round(window.heard_s(at_s) * SAMPLE_RATE_HZ) for at_s in (start_s, end_s))
    return samples[low:high]


def _lost(texts: Sequence[WindowText], runs: Sequence[Sequence[Run]], n: int) -> float:
    return _length_s(uncovered(texts[n], runs[n]))


def _join(parts: Sequence[tuple[float, WindowText]]) -> WindowText:
    """The texts of parts of a window, each from its second on, as the text of the whole."""
    texts = [text for _, text in parts]
    steps = [len(text.tokens) + 1 for text in texts]
    longest = texts[steps.index(max(steps))]
    return replace(
        longest,
        text=" ".join(text.text.strip() for text in texts),
        tokens=[token for text in texts for token in text.tokens],
        avg_logprob=sum(text.avg_logprob * n for text, n in zip(texts, steps, strict=True)) / sum(steps),
        no_speech_prob=max(text.no_speech_prob for text in texts),
        compression_ratio=max(text.compression_ratio for text in texts),
        temperature=max(text.temperature for text in texts),
        words=[
            replace(word, start_s=word.start_s + start_s, end_s=word.end_s + start_s)
            for start_s, text in parts
            for word in text.words
        ],
    )


def warnings(heard: Sequence[tuple[float, WindowText, Sequence[Run]]]) -> list[str]:
    """What a reader should check, of windows as (start in the recording, text, runs of speech)."""
    lost, doubtful = [], []
    for start_s, text, runs in heard:
        lost += [(start_s + low, start_s + high) for low, high in uncovered(text, runs)]
        if text.text.strip() and math.exp(text.avg_logprob) < DOUBTFUL and _length_s(runs) >= UNCOVERED_S:
            doubtful.append((start_s + runs[0][0], start_s + runs[-1][1]))
    said = []
    if lost:
        said.append(f"Speech without words, or with too few: {_stretches(lost)}.")
    if doubtful:
        said.append(f"Words of low confidence (under {DOUBTFUL:g}): {_stretches(doubtful)}.")
    return said


def _stretches(runs: Sequence[Run]) -> str:
    joined: list[Run] = []
    for start, end in sorted(runs):
        if joined and start - joined[-1][1] < UNCOVERED_S:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    named = [f"{_clock(start)} to {_clock(end)}" for start, end in joined[:SHOWN]]
    return ", ".join(named) + (f" and {len(joined) - SHOWN} more" if len(joined) > SHOWN else "")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds, 1), 60)
    return f"{int(minutes)}:{rest:04.1f}"
