"""From what an engine heard in each window to the transcript of a recording: readable segments, exact times."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from milo.protocols import WindowText, WordTiming
from milo.transcription import coverage
from milo.transcription.cues import Piece, cut, spread
from milo.transcription.transcript import DEFAULT_RULES, Segment, Transcript, Word
from milo.transcription.word_times import Run, SpeechClock, place, speech_runs

SIZES = DEFAULT_RULES
"""Segments are as long as a subtitle of the default profile; every rendering may cut the words anew."""


def compose(
    heard: Iterable[tuple[float, float, WindowText]],
    *,
    duration_s: float,
    speech_s: float,
    frame_probabilities: npt.NDArray[np.uint8],
    model: str,
    engine: str,
    task: str,
    warnings: Sequence[str] = (),
) -> Transcript:
    """The transcript of a recording from `(start_s, end_s, text)` of its windows, in seconds of the original file.

    `frame_probabilities` are those of `DecodedSpeech`: words are drawn in to where speech is.
    """
    segments: list[Segment] = []
    texts: list[str] = []
    spoken: list[tuple[float, WindowText, list[Run]]] = []
    weights: dict[str, float] = defaultdict(float)
    certain: dict[str, float] = defaultdict(float)
    logprob = tokens = 0.0
    for start_s, end_s, text in sorted(heard, key=lambda item: item[0]):
        runs = speech_runs(start_s, end_s, frame_probabilities)
        spoken.append((start_s, text, runs))
        if not text.text.strip():
            continue
        texts.append(text.text.strip())
        runs = runs or [(0.0, end_s - start_s)]
        said_s = sum(end - start for start, end in runs)
        weights[text.language] += said_s
        certain[text.language] += said_s * text.language_probability
        logprob += text.avg_logprob * (len(text.tokens) + 1)
        tokens += len(text.tokens) + 1
        if text.words:
            for cue in cut(place(text.words, runs), SIZES):
                segments.append(_segment(len(segments), start_s, end_s, text, cue))
        else:
            for part in cut(_spread(text.text, runs), SIZES):
                segments.append(_segment_without_words(len(segments), start_s, text, part))
    language = max(weights, key=lambda name: weights[name]) if weights else None
    return Transcript(
        text=" ".join(texts),
        language=language,
        language_probability=round(certain[language] / weights[language], 4) if language else None,
        duration=round(duration_s, 3),
        speech_s=round(speech_s, 3),
        confidence=round(math.exp(logprob / tokens), 4) if tokens else None,
        segments=segments,
        model=model,
        engine=engine,
        task=task,
        warnings=[*warnings, *coverage.warnings(spoken)],
    )


def _segment(number: int, start_s: float, end_s: float, text: WindowText, words: Sequence[WordTiming]) -> Segment:
    """A segment of words whose times count from `start_s`."""
    timed = [
        Word(
            word=word.word,
            start=round(start_s + word.start_s, 3),
            end=round(min(start_s + word.end_s, end_s), 3),
            probability=round(word.probability, 4),
        )
        for word in words
    ]
    return Segment(
        id=number,
        start=timed[0].start,
        end=timed[-1].end,
        text="".join(word.word for word in words).strip(),
        tokens=[token for word in words for token in word.tokens],
        words=timed,
        **_numbers(text),
    )


def _segment_without_words(number: int, start_s: float, text: WindowText, part: Sequence[Piece]) -> Segment:
    """A part of the text of a window without word times. Its tokens are known only where it is the whole text."""
    said = "".join(piece.word for piece in part).strip()
    return Segment(
        id=number,
        start=round(start_s + part[0].start_s, 3),
        end=round(start_s + part[-1].end_s, 3),
        text=said,
        tokens=text.tokens if said == text.text.strip() else [],
        **_numbers(text),
    )


def _numbers(text: WindowText) -> dict[str, Any]:
    return {
        "confidence": round(math.exp(text.avg_logprob), 4),
        "avg_logprob": round(text.avg_logprob, 4),
        "no_speech_prob": round(text.no_speech_prob, 4),
        "compression_ratio": round(text.compression_ratio, 3),
        "temperature": text.temperature,
        "language": text.language,
    }


def _spread(text: str, runs: Sequence[Run]) -> list[Piece]:
    """A text without word times over the speech of its window, in proportion to its characters."""
    clock = SpeechClock(runs)
    return [Piece(piece.word, *clock.longest(piece.start_s, piece.end_s)) for piece in spread(text, 0.0, clock.total_s)]
