"""Speech synthesis: one text in, its audio out."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AliasChoices, Field

from milo.audio.formats import AUDIO_FORMATS
from milo.jobs import Frozen
from milo.kinds.fields import Closed, Name, OptionalName, PrintableText, Text
from milo.kinds.kind import AUDIO, Batches, Kind, ModelUse, Results, Stage


class TtsOptions(Closed):
    """How to speak."""

    language: OptionalName = None
    """ISO 639-1; nothing: `mg`, where the model speaks it."""
    voice: OptionalName = None
    speed: float = Field(1.0, ge=0.25, le=4)
    sample_rate: int | None = Field(
        None, ge=8000, le=48000, validation_alias=AliasChoices("sample_rate", "sample_rate_hz")
    )
    """Hz; nothing: the model's own."""
    format: Annotated[Text, Field(max_length=32)] = "wav"
    """wav, pcm, flac, ogg, opus, mp3 or aac."""
    model: OptionalName = None


class TtsInput(TtsOptions):
    """What a client may send."""

    text: PrintableText
    name: Name | None = None
    """Of the file, in a batch's zip."""
    stream: bool = False


class TtsPayload(Frozen):
    """One text to speak. `text` has been checked against `Settings.tts_max_chars`."""

    text: str
    model: str
    language: str = "mg"
    voice: str | None = None
    speed: float = Field(1.0, ge=0.25, le=4)
    sample_rate_hz: int | None = Field(None, ge=8000, le=48000)
    """None: the engine's own."""
    format: Literal["wav", "flac", "ogg", "opus", "mp3", "aac", "pcm"] = "wav"
    stream: bool = False
    """The file is also said (`milo.queue.streams`) in pieces, each sentence as it is ready."""
    name: str | None = None
    """What people call it; also the stem of result files."""


TTS = Kind(
    "tts",
    TtsPayload,
    (Stage("speak"),),
    request=TtsInput,
    model=ModelUse("tts", "tts_model", re.compile(r"tts-1(-hd)?(-[\d-]+)?|gpt-[\w.-]*tts[\w.-]*"), "tts-1"),
    results=Results((AUDIO, "json", *AUDIO_FORMATS), AUDIO, audio=lambda result: result, zipped=(AUDIO,)),
    batches=Batches(TtsOptions, items="texts"),
)
