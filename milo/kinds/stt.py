"""Transcription: one recording in, its transcript out."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field

from milo.cue_rules import CueRules, check_rules
from milo.jobs import AudioSource
from milo.kinds.fields import Closed, OptionalName, Text
from milo.kinds.kind import Batches, Document, Kind, ModelUse, Rendered, Results, Stage
from milo.transcription import transcript
from milo.transcription.transcript import Transcript

_EXTENSIONS = {"verbose_json": "verbose.json"}


def _empty_is_none(value: str | None) -> str | None:
    return value or None


CueText = Annotated[str, Field(max_length=200), AfterValidator(check_rules)]


class SttOptions(Closed):
    """How to transcribe: the same for one recording, a form, a batch, a conversation and OpenAI's clients."""

    language: Annotated[Annotated[Text, Field(max_length=32)] | None, AfterValidator(_empty_is_none)] = None
    """ISO 639-1; nothing or `auto`: detect it."""
    task: Literal["transcribe", "translate"] = "transcribe"
    prompt: Annotated[Text, Field(max_length=2000)] | None = None
    word_timestamps: bool = True
    beam_size: int = Field(1, ge=1, le=10)
    temperature: float | None = Field(None, ge=0, le=1)
    """None: 0 with fallback to higher ones while a guard rejects the text."""
    channels: Literal["mix", "separate"] = "mix"
    """`separate`: each channel is a speaker, as in recordings of calls."""
    model: OptionalName = None
    cues: Annotated[CueText | None, AfterValidator(_empty_is_none)] = None
    """How subtitles of the result are cut: a profile (`broadcast`, `social`, `plain`), numbers such as `max_s=5`, or
    both, with commas. None: MILO_CUES."""


class SttInput(SttOptions):
    """What a client may send."""

    source: AudioSource


class SttPayload(SttOptions):
    """One recording to transcribe: options that a model on this server can fulfil."""

    model_config = ConfigDict(frozen=True)

    source: AudioSource
    model: str


def _render(document: Document, format: str) -> Rendered:
    return _subtitles(document, format, transcript.DEFAULT_RULES)


def _subtitles(document: Document, format: str, rules: CueRules) -> Rendered:
    text = transcript.render(Transcript.model_validate(document), format, rules)
    return Rendered(text, transcript.MEDIA_TYPES[format], _EXTENSIONS.get(format, format))


STT = Kind(
    "stt",
    SttPayload,
    (Stage("decode", pool="cpu", sliced=False), Stage("transcribe", grouped=True)),
    request=SttInput,
    inputs=("source", "cues", "channels"),
    model=ModelUse("stt", "stt_model", re.compile(r"whisper-1|gpt-[\w.-]*transcribe[\w.-]*"), "whisper-1"),
    results=Results(transcript.FORMATS, "json", _render, subtitles=_subtitles, zipped=("srt", "txt")),
    batches=Batches(SttOptions, items="recordings"),
)
