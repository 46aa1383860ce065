"""Chat messages, and the utterances of a spoken conversation: what was said in, a reply (and its audio) out."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field

from milo.audio.formats import AUDIO_FORMATS
from milo.jobs import AudioSource, Frozen
from milo.kinds.fields import Closed, OptionalName, Text
from milo.kinds.kind import AUDIO, Document, Kind, ModelUse, Rendered, Results, Stage, as_json, as_text


class ChatInput(Closed):
    """What a client may send: one message of a session."""

    message: str
    session_id: Annotated[Text, Field(max_length=64)] | None = None
    """Whose conversation it belongs to; nothing: a new one is opened."""
    language: OptionalName = None
    """Of the reply, ISO 639-1; nothing: that of the message."""
    mode: Literal["text", "voice"] = "text"
    """`voice`: the reply is spoken, too."""
    max_tokens: int | None = Field(None, ge=1, le=8192)
    temperature: float = Field(0.7, ge=0, le=2)
    voice: OptionalName = None
    speed: float = Field(1.0, ge=0.25, le=4)
    tts_model: OptionalName = None


class ChatTurn(Frozen):
    role: Literal["system", "user", "assistant"]
    content: str


class ChatPayload(Frozen):
    """One message of a session, or (`messages`, the OpenAI route) a whole conversation that the client keeps."""

    message: str = ""
    messages: tuple[ChatTurn, ...] = ()
    session_id: str | None = None
    ticket: int | None = None
    """The message's place in the order of its session."""
    language: str | None = None
    max_tokens: int = Field(512, ge=1, le=8192)
    temperature: float = Field(0.7, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    stop: tuple[str, ...] = ()
    """The reply ends before any of them."""
    json_schema: str | None = None
    """The reply is JSON of this schema (itself as JSON text)."""
    truncate: bool = False
    """Of `messages`, leave out the oldest that the model has no room for; refused otherwise."""
    voice_mode: bool = False
    """Speak the reply, too."""
    tts_model: str | None = None
    voice: str | None = None
    speed: float = Field(1.0, ge=0.25, le=4)
    stream: bool = False


class ConversePayload(Frozen):
    """One utterance of a voice conversation: heard, answered and spoken by one task, each step said at once."""

    source: AudioSource
    """16 kHz mono wav, an utterance that the front's VAD has cut out."""
    session_id: str
    ticket: int
    stt_model: str
    tts_model: str
    language: str | None = None
    voice: str | None = None
    max_tokens: int = Field(256, ge=1, le=8192)


def _render(document: Document, format: str) -> Rendered:
    return as_text(f"{document.get('reply', '')}\n") if format == "txt" else as_json(document)


REPLIES = Results(("json", "txt", AUDIO, *AUDIO_FORMATS), render=_render, audio=lambda result: result.get("audio"))
CHAT = Kind(
    "chat",
    ChatPayload,
    (Stage("chat"),),
    request=ChatInput,
    model=ModelUse(
        "chat",
        "chat_model",
        re.compile(r"(?!gpt-[\w.-]*(?:realtime|audio|image)[\w.-]*$)(?:gpt-|chatgpt-)[\w.:-]+"),
        "gpt-4o-mini",
        configured_only=True,
    ),
    results=REPLIES,
)
CONVERSE = Kind("converse", ConversePayload, (Stage("converse"),), results=REPLIES)
