"""A transcript and its renderings: txt, srt, vtt, tsv, json, verbose_json. Times are seconds in the original file."""

from __future__ import annotations

import json
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict

from milo.errors import Invalid

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


class Segment(BaseModel):
    """One cue. The numbers are those of OpenAI's `verbose_json`; `confidence` is exp(avg_logprob)."""

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


def timestamp(seconds: float, separator: str = ",") -> str:
    """`HH:MM:SS,mmm`, hours without bound. Rounds to the nearest millisecond."""
    millis = max(0, round(seconds * 1000))
    hours, millis = divmod(millis, 3_600_000)
    minutes, millis = divmod(millis, 60_000)
    secs, millis = divmod(millis, 1000)
    return f"{hours:02}:{minutes:02}:{secs:02}{separator}{millis:03}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _vtt_text(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _verbose(transcript: Transcript) -> dict[str, Any]:
    segments = [
        {
            "id": s.id,
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
        for s in transcript.segments
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


def render(transcript: Transcript, format: str) -> str:
    """The transcript as a document. Raises `Invalid` for a format that is not in `FORMATS`."""
    segments = transcript.segments
    if format == "txt":
        return "".join(f"{_one_line(s.text)}\n" for s in segments)
    if format == "srt":
        cues = (
            f"{n}\n{timestamp(s.start)} --> {timestamp(s.end)}\n{_one_line(s.text)}\n"
            for n, s in enumerate(segments, 1)
        )
        return "\n".join(cues)
    if format == "vtt":
        cues = (
            f"{timestamp(s.start, '.')} --> {timestamp(s.end, '.')}\n{_vtt_text(_one_line(s.text))}\n" for s in segments
        )
        return "WEBVTT\n\n" + "\n".join(cues)
    if format == "tsv":
        rows = (f"{round(s.start * 1000)}\t{round(s.end * 1000)}\t{_one_line(s.text)}\n" for s in segments)
        return "start\tend\ttext\n" + "".join(rows)
    if format == "json":
        return transcript.model_dump_json()
    if format == "verbose_json":
        return json.dumps(_verbose(transcript), ensure_ascii=False)
    raise Invalid(f"unknown format {format!r}; one of {', '.join(FORMATS)}", code="unknown_format")
