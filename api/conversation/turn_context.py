"""What a turn is about, how it is answered, and what all turns of a conversation share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from api.conversation.socket import Socket
from api.http.deps import Context
from milo.chat.sessions import Sessions
from milo.ledger.keys import Key


@dataclass(frozen=True)
class UserInput:
    """What the person said or typed, and whether the reply is spoken."""

    pcm: bytes = b""
    """Int16 LE at 16 kHz; empty for a typed message."""
    text: str = ""
    speak: bool = True
    waited_s: float = 0.0
    """Silence that was waited for before the utterance counted as complete."""


@dataclass(frozen=True)
class TurnSettings:
    """Models, language and voice of a turn, all checked."""

    stt_model: str
    tts_model: str
    language: str | None = None
    """None: that of the utterance."""
    voice: str | None = None


@dataclass(frozen=True)
class TurnContext:
    """What all turns of a conversation share."""

    app: Context
    sessions: Sessions
    socket: Socket
    key: Key
    session_id: str
    audio_sent: Callable[[float], None]
    """Told how many seconds of reply have been sent."""
