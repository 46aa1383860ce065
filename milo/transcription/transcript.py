"""A transcript and its renderings: txt, srt, vtt, tsv, json, verbose_json. Times are seconds in the original file."""

from __future__ import annotations

import itertools
import json
import operator
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from milo.cue_rules import PROFILES, CueRules
from milo.errors import Invalid
from milo.transcription.cues import Cue, Piece, cut, fit, spread, timed

DEFAULT_RULES = PROFILES["broadcast"]

Format = Literal["txt", "srt", "vtt", "tsv", "json", "verbose_json"]
FORMATS: tuple[str, ...] = get_args(Format)
MEDIA_TYPES = {
    "txt": "text/plain; charset=utf-8",
    "srt": "application/x-subrip; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
    "tsv": "text/tab-separated-values; charset=utf-8",
    "json": "application/json",
    "verbose_json": "application/json",
}


class Word(BaseModel):
    model_config = ConfigDict(frozen=True)

    word: str
    start: float
    end: float
    probability: float
    interpolated: bool = Field(False, exclude_if=operator.not_)
    """Somebody wrote the word later: its times are guessed from those around it. Left out where it is false."""


class Segment(BaseModel):
    """A sentence or a part of one, no longer than a subtitle. The numbers are those of OpenAI's `verbose_json`;
    `confidence` is exp(avg_logprob)."""

    model_config = ConfigDict(frozen=True)

    id: int
    start: float
    end: float
    text: str
    confidence: float
    avg_logprob: float
    no_speech_prob: float
    compression_ratio: float
    temperature: float = 0.0
    language: str = ""
    tokens: list[int] = []
    words: list[Word] = []
    channel: int | None = Field(None, exclude_if=lambda value: value is None)
    """Where each channel is a speaker, the one that this was said on, from 0."""
    speaker: str | None = Field(None, exclude_if=operator.not_)
    """Who says it, where channels or a person tell: `A`, `B`, … or a name. Left out otherwise."""


class Transcript(BaseModel):
    """What was said in one recording. Silence gives `text == ""` and no segments."""

    model_config = ConfigDict(frozen=True)

    text: str
    language: str | None
    """Of most of the speech; None when there was none."""
    language_probability: float | None
    duration: float
    """Seconds of the recording, decoded."""
    speech_s: float
    """Seconds of it that the VAD took for speech."""
    confidence: float | None
    """exp of the mean token log-probability over all segments; None without speech."""
    segments: list[Segment]
    model: str
    engine: str
    task: str = "transcribe"
    warnings: list[str] = []
    """What was wrong with the file although it could be read: cut off, broken frames."""
    revision: int = Field(0, exclude_if=operator.not_)
    """How often people have edited it; left out of the machine's own text."""


def timestamp(seconds: float, separator: str = ",") -> str:
    """`HH:MM:SS,mmm`, hours without bound. Rounds to the nearest millisecond."""
    millis = max(0, round(seconds * 1000))
    hours, millis = divmod(millis, 3_600_000)
    minutes, millis = divmod(millis, 60_000)
    secs, millis = divmod(millis, 1000)
    return f"{hours:02}:{minutes:02}:{secs:02}{separator}{millis:03}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _name(segment: Segment) -> str:
    return f"{segment.speaker}: " if segment.speaker else ""


def _vtt_text(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _verbose(transcript: Transcript) -> dict[str, Any]:
    segments = [
        {
            "id": number,
            "seek": round(s.start * 100),
            "start": s.start,
            "end": s.end,
            "text": s.text,
            "tokens": s.tokens,
            "temperature": s.temperature,
            "avg_logprob": s.avg_logprob,
            "compression_ratio": s.compression_ratio,
            "no_speech_prob": s.no_speech_prob,
        }
        | ({"channel": s.channel, "speaker": s.speaker} if s.speaker else {})
        for number, s in enumerate(transcript.segments)
    ]
    words = [{"word": w.word.strip(), "start": w.start, "end": w.end} for s in transcript.segments for w in s.words]
    return {
        "task": transcript.task,
        "language": transcript.language,
        "duration": transcript.duration,
        "text": transcript.text,
        "segments": segments,
        "words": words,
        "usage": {"type": "duration", "seconds": round(transcript.duration)},
    }


def cues_of(transcript: Transcript, rules: CueRules = DEFAULT_RULES, *, named: bool = False) -> list[Cue]:
    """The transcript as subtitles: its words, cut anew by `rules`. A segment without words is spread over its time.

    No cue holds words of two speakers. `named`: a turn begins with the name of its speaker, `A: `.
    """
    cues: list[tuple[str, list[Piece]]] = []
    before = None
    for (speaker, _), segments in itertools.groupby(transcript.segments, lambda one: (one.speaker, one.language)):
        words = [word for segment in segments for word in _words(segment)]
        if named and speaker and speaker != before and words:
            words[0] = replace(words[0], word=f" {speaker}: {words[0].word.lstrip()}")
        before = speaker
        cues += [(speaker or "", cue) for cue in cut(fit(words, rules), rules)]
    cues.sort(key=lambda item: item[1][0].start_s)
    return timed([words for _, words in cues], rules, transcript.duration, [speaker for speaker, _ in cues])


def _words(segment: Segment) -> Iterator[Piece]:
    """The words of a segment, each with a space before it if it is the first."""
    words = [Piece(word.word, word.start, word.end) for word in segment.words]
    for index, piece in enumerate(words or spread(segment.text, segment.start, segment.end)):
        first = index == 0 and not piece.word[:1].isspace()
        yield Piece(f" {piece.word}", piece.start_s, piece.end_s) if first else piece


def _times(cue: Cue, separator: str) -> str:
    return f"{timestamp(cue.start_s, separator)} --> {timestamp(cue.end_s, separator)}"


def _srt(cues: list[Cue]) -> str:
    blocks = ("\n".join((str(number), _times(cue, ","), *cue.lines, "")) for number, cue in enumerate(cues, 1))
    return "\n".join(blocks)


def _vtt(cues: list[Cue]) -> str:
    blocks = ("\n".join((_times(cue, "."), *_vtt_lines(cue), "")) for cue in cues)
    return "WEBVTT\n\n" + "\n".join(blocks)


def _vtt_lines(cue: Cue) -> list[str]:
    lines = [_vtt_text(line) for line in cue.lines]
    return [f"<v {_vtt_text(cue.speaker)}>{lines[0]}", *lines[1:]] if cue.speaker and lines else lines


def _tsv(cues: list[Cue]) -> str:
    """The column of speakers comes last, and only where they are told apart."""
    speakers = any(cue.speaker for cue in cues)
    rows = [("start", "end", "text", "speaker")]
    rows += [(f"{cue.start_s * 1000:.0f}", f"{cue.end_s * 1000:.0f}", " ".join(cue.lines), cue.speaker) for cue in cues]
    return "".join("\t".join(row if speakers else row[:3]) + "\n" for row in rows)


SUBTITLES = {"srt": _srt, "vtt": _vtt, "tsv": _tsv}
"""Formats that are made of cues."""


def render(transcript: Transcript, format: str, rules: CueRules = DEFAULT_RULES) -> str:
    """The transcript as a document, subtitles by `rules`. Raises `Invalid` for a format that is not in `FORMATS`."""
    if format in SUBTITLES:
        return SUBTITLES[format](cues_of(transcript, rules, named=format == "srt"))
    if format == "txt":
        return "".join(f"{_name(segment)}{_one_line(segment.text)}\n" for segment in transcript.segments)
    if format == "json":
        return transcript.model_dump_json()
    if format == "verbose_json":
        return json.dumps(_verbose(transcript), ensure_ascii=False)
    raise Invalid(f"unknown format {format!r}; one of {', '.join(FORMATS)}", code="unknown_format")
