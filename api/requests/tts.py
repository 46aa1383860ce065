"""Texts to be spoken: checked against the voices of this server."""

from __future__ import annotations

import re
from typing import Any

from api.http.deps import Context
from api.requests.errors import pointed, pointing_at
from api.requests.models import choose_speech
from milo.audio.formats import AUDIO_FORMATS
from milo.kinds.fields import Delivery
from milo.kinds.tts import TtsInput, TtsPayload
from milo.ledger.keys import Key
from milo.synthesis.normalization import can_be_spoken, check_text, normalize
from milo.synthesis.voices import DEFAULT_LANGUAGE, Speech

_MARKUP = re.compile(r"[^\w\s.,;!?'’-]")
_WORD = re.compile(r"(?<!\S)[A-Za-zÀ-ÖØ-öø-ÿ]{2,}")


class TtsRequest(TtsInput, Delivery):
    """One text to speak. `stream`: the audio comes in pieces, each sentence as soon as it is ready.

    The formats `json` and `base64` are a wav file inside a JSON document; they come whole.
    """

    @property
    def in_json(self) -> bool:
        return self.format.strip().lower() in ("json", "base64")


def check(context: Context, key: Key, asked: TtsInput) -> TtsPayload:
    """The payload of a `tts` job, everything in it checked. Raises `Invalid` that says what would be right."""
    return check_text_to_speak(context, asked, context.settings.tts_max_chars)


def check_text_to_speak(context: Context, asked: TtsInput, max_chars: int) -> TtsPayload:
    """The same with a length of its own."""
    settings = context.settings
    pointing_at("text", check_text, asked.text, max_chars)
    speech = choose_speech(context, asked.model)
    language = spoken_language(speech, asked.language)
    if not _has_a_word(asked.text) and not can_be_spoken(normalize(asked.text, language, settings.number_order)):
        detail = "the text has no word that can be spoken: only signs, emoji or markup"
        raise pointed(detail, "text", "nothing_to_speak")
    return TtsPayload(
        text=asked.text,
        model=speech.name,
        language=language,
        voice=spoken_voice(context, speech, asked.voice),
        speed=asked.speed,
        sample_rate_hz=asked.sample_rate,
        format="wav" if isinstance(asked, TtsRequest) and asked.in_json else audio_format(asked.format),
        stream=asked.stream,
        name=asked.name,
    )


def _has_a_word(text: str) -> bool:
    """Certainly something to speak: a quick yes for plain text, which most is."""
    return not _MARKUP.search(text) and bool(_WORD.search(text))


def audio_format(asked: str) -> Any:
    """The name of a format. `Invalid` (unknown_format) with the list."""
    name = asked.strip().lower()
    if name not in AUDIO_FORMATS:
        detail = f"unknown audio format {asked!r}; one of {', '.join(AUDIO_FORMATS)}"
        raise pointed(detail, "format", "unknown_format")
    return name


def spoken_language(speech: Speech, asked: str | None) -> str:
    """A language of the speech model; its first, or Malagasy, when none is asked for. `Invalid` with the list."""
    languages = speech.languages
    if asked is None:
        return DEFAULT_LANGUAGE if DEFAULT_LANGUAGE in languages or not languages else languages[0]
    code = asked.strip().lower()
    for wanted in (code, re.split("[-_]", code)[0]):
        if wanted in languages or (not languages and re.fullmatch("[a-z]{2,3}", wanted)):
            return wanted
    detail = f"{speech.name} does not speak {asked!r}; it speaks {', '.join(languages) or 'ISO 639 codes'}"
    raise pointed(detail, "language", "unknown_language")


def spoken_voice(context: Context, speech: Speech, asked: str | None) -> str | None:
    """A voice of the speech model; the operator's choice when none is asked for. `Invalid` with the list."""
    voice = asked or context.settings.tts_voice.strip() or None
    if voice is None or not speech.languages or voice in speech.voices:
        return voice
    detail = f"{speech.name} has no voice {voice!r}; it has {', '.join(speech.voices)}"
    raise pointed(detail, "voice", "unknown_voice")
