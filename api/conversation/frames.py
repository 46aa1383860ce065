"""What the two sides of a conversation say: JSON in text frames, int16 LE PCM at 16 kHz mono in binary ones."""

from __future__ import annotations

import io
import secrets
import wave
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from api.http.problems import from_pydantic
from milo.errors import BadRequest, Invalid
from milo.kinds.fields import Text

SAMPLE_RATE_HZ = 16_000
MAX_FRAME_BYTES = 2 * 1024**2
"""Largest binary frame: 65 s of audio."""
MAX_TEXT_BYTES = 64 * 1024


class Frame(BaseModel):
    """Fields that are not known are ignored: a newer client shall be understood as far as possible."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Stop(Frame):
    """The utterance ends here, whatever the voice detector thinks."""

    type: Literal["stop"]


class Typed(Frame):
    """A message that was typed."""

    type: Literal["text"]
    text: str
    speak: bool = True
    """Speak the reply, too."""


class Interrupt(Frame):
    """Stop replying."""

    type: Literal["interrupt"]


class Configure(Frame):
    """From the next turn on. What is absent stays; null, an empty string and `auto` are the default.

    `partials`: also send transcripts that are not final, from now on.
    """

    type: Literal["config"]
    language: Annotated[Text, Field(max_length=32)] | None = None
    voice: Annotated[Text, Field(max_length=255)] | None = None
    partials: bool | None = None


class PlaybackReport(Frame):
    """Whether the client is playing a reply. Without it the time is estimated from the audio that was sent."""

    type: Literal["playback"]
    playing: bool


ClientFrame = Stop | Typed | Interrupt | Configure | PlaybackReport
_ADAPTER: TypeAdapter[ClientFrame] = TypeAdapter(Annotated[ClientFrame, Field(discriminator="type")])


def parse(text: str) -> ClientFrame:
    """A text frame. `BadRequest` for what is not JSON, `Invalid` for what is no message of the protocol."""
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError as error:
        problem = from_pydantic(error)
    if isinstance(problem, BadRequest):
        raise BadRequest(f"the text frame is not JSON: {problem.detail.partition(': ')[2]}", code="bad_frame")
    raise Invalid(f"the text frame is no message: {problem.detail}", code="bad_frame", errors=problem.errors)


def wav(pcm: bytes, sample_rate_hz: int = SAMPLE_RATE_HZ, *, unique: bool = False) -> bytes:
    """A wav file of mono int16 LE samples. `unique`: no other file has its bytes, even with the same samples."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(sample_rate_hz)
        writer.writeframes(pcm)
    if not unique:
        return file.getvalue()
    # a chunk that readers pass over, behind the samples; RIFF counts it
    note = b"id  " + (16).to_bytes(4, "little") + secrets.token_bytes(16)
    content = file.getvalue()
    return content[:4] + (len(content) + len(note) - 8).to_bytes(4, "little") + content[8:] + note
