"""From what an engine heard in each window to the transcript of a recording: cues a reader can follow, exact times."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from milo.audio.vad import FRAME_S, VadOptions
from milo.protocols import WindowText, WordTiming
from milo.transcription.transcript import Segment, Transcript, Word

MAX_CUE_S = 7.0
MAX_CUE_CHARS = 84
"""Two subtitle lines of 42 characters, at most 7 seconds: the usual limits of subtitling."""
PAUSE_S = 0.6
"""A silence between two words from which on they stand in different cues."""
VAD = VadOptions()
LEAD_S = 0.05
"""How far a word may begin before what the voice activity detector took for speech: it wakes up late, and ends late."""
SHORTEST_S = 0.02
"""A word is not drawn in to less."""
SENTENCE_END = (".", "!", "?", "…", ":", ";")


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
    weights: dict[str, float] = defaultdict(float)
    certain: dict[str, float] = defaultdict(float)
    logprob = tokens = 0.0
    for start_s, end_s, text in sorted(heard, key=lambda item: item[0]):
        if not text.text.strip():
            continue
        weights[text.language] += end_s - start_s
        certain[text.language] += (end_s - start_s) * text.language_probability
        logprob += text.avg_logprob * (len(text.tokens) + 1)
        tokens += len(text.tokens) + 1
        words = [_draw_in(word, start_s, frame_probabilities) for word in text.words]
        if not words:
            runs = _speech(start_s, end_s, frame_probabilities) or [(start_s, end_s)]
            segments.append(_segment(len(segments), runs[0][0], runs[-1][1], text, []))
        for cue in _cues(words):
            segments.append(_segment(len(segments), start_s, end_s, text, cue))
    language = max(weights, key=lambda name: weights[name]) if weights else None
    return Transcript(
        text=" ".join(segment.text for segment in segments),
        language=language,
        language_probability=round(certain[language] / weights[language], 4) if language else None,
        duration=round(duration_s, 3),
        speech_s=round(speech_s, 3),
        confidence=round(math.exp(logprob / tokens), 4) if tokens else None,
        segments=segments,
        model=model,
        engine=engine,
        task=task,
        warnings=list(warnings),
    )


def _segment(number: int, start_s: float, end_s: float, text: WindowText, words: Sequence[WordTiming]) -> Segment:
    """A cue of words whose times count from `start_s`, or of the whole text of a window, without words."""
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
        start=timed[0].start if timed else round(start_s, 3),
        end=timed[-1].end if timed else round(end_s, 3),
        text="".join(word.word for word in words).strip() if words else text.text.strip(),
        confidence=round(math.exp(text.avg_logprob), 4),
        avg_logprob=round(text.avg_logprob, 4),
        no_speech_prob=round(text.no_speech_prob, 4),
        compression_ratio=round(text.compression_ratio, 3),
        temperature=text.temperature,
        language=text.language,
        tokens=[token for word in words for token in word.tokens] if words else text.tokens,
        words=timed,
    )


def _speech(start_s: float, end_s: float, frame_probabilities: npt.NDArray[np.uint8]) -> list[tuple[float, float]]:
    """Stretches of speech, as the voice activity detector heard them, in a part of the recording; pauses between."""
    first = int(start_s / FRAME_S)
    heard = np.flatnonzero(frame_probabilities[first : math.ceil(end_s / FRAME_S)] >= VAD.release * 255)
    if not len(heard):
        return []
    runs = np.split(heard, np.flatnonzero(np.diff(heard) * FRAME_S > VAD.min_silence_s) + 1)
    return [
        (
            max(start_s, (first + int(run[0])) * FRAME_S - LEAD_S),
            min(end_s, (first + int(run[-1]) + 1) * FRAME_S),
        )
        for run in runs
    ]


def _draw_in(word: WordTiming, offset_s: float, frame_probabilities: npt.NDArray[np.uint8]) -> WordTiming:
    """The word within the longest stretch of speech that it lies over; as it is, where there is none.

    By cross-attention alone a word takes the pause before it, or the one behind it, or both.
    """
    runs = _speech(offset_s + word.start_s, offset_s + word.end_s, frame_probabilities)
    start_s, end_s = max(runs, key=lambda run: run[1] - run[0], default=(0.0, 0.0))
    if end_s - start_s < SHORTEST_S:
        return word
    return replace(word, start_s=max(word.start_s, start_s - offset_s), end_s=min(word.end_s, end_s - offset_s))


def _cues(words: Sequence[WordTiming]) -> list[list[WordTiming]]:
    """Cut words into cues: at every pause, and before a cue grows too long, at a sentence end if there is one."""
    cues: list[list[WordTiming]] = []
    cue: list[WordTiming] = []
    for word in words:
        if cue and word.start_s - cue[-1].end_s >= PAUSE_S:
            cues.append(cue)
            cue = []
        cue.append(word)
        while _too_long(cue):
            cut = _best_cut(cue)
            cues.append(cue[:cut])
            cue = cue[cut:]
    if cue:
        cues.append(cue)
    return cues


def _too_long(cue: Sequence[WordTiming]) -> bool:
    if len(cue) < 2:
        return False
    return cue[-1].end_s - cue[0].start_s > MAX_CUE_S or len("".join(w.word for w in cue).strip()) > MAX_CUE_CHARS


def _best_cut(cue: Sequence[WordTiming]) -> int:
    """Where to cut a cue that became too long with its last word: after a sentence, a comma, or the widest gap."""
    last = len(cue) - 1
    for marks in (SENTENCE_END, (",",)):
        for index in range(last, len(cue) // 3, -1):
            if cue[index - 1].word.rstrip().endswith(marks):
                return index
    return max(range(max(1, len(cue) // 2), len(cue)), key=lambda i: cue[i].start_s - cue[i - 1].end_s)
