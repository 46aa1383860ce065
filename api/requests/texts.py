"""Requests whose input is text, to be spoken or translated: what may be asked, and the payload of the job."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, Field, model_validator

from api.http.deps import Context
from api.requests.models import choose_speech, choose_translator
from api.requests.stt import Closed, Name, Text
from milo.audio.formats import AUDIO_FORMATS
from milo.errors import Invalid, MiloError
from milo.jobs import TranslatePayload, TtsPayload
from milo.synthesis.normalization import can_be_spoken, check_text, normalize
from milo.synthesis.voices import DEFAULT_LANGUAGE, Speech
from milo.translation import translate

MAX_TEXTS = 100
"""Texts in one translation request; more are a batch."""
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_MARKUP = re.compile(r"[^\w\s.,;!?'’-]")
_WORD = re.compile(r"(?<!\S)[A-Za-zÀ-ÖØ-öø-ÿ]{2,}")


def _printable(text: str) -> str:
    """Without control characters, which no database, voice or model has a use for, and without half characters."""
    return _CONTROLS.sub("", text).encode("utf-8", "replace").decode()


def _empty_is_none(value: str | None) -> str | None:
    return (value or "").strip() or None


Spoken = Annotated[str, AfterValidator(_printable)]
Word = Annotated[Annotated[Text, Field(max_length=255)] | None, AfterValidator(_empty_is_none)]
Asked = Literal["realtime", "interactive", "batch"]


class TtsOptions(Closed):
    """How to speak."""

    language: Word = None
    """ISO 639-1; nothing: `mg`, where the model speaks it."""
    voice: Word = None
    speed: float = Field(1.0, ge=0.25, le=4)
    sample_rate: int | None = Field(
        None, ge=8000, le=48000, validation_alias=AliasChoices("sample_rate", "sample_rate_hz")
    )
    """Hz; nothing: the model's own."""
    format: Annotated[Text, Field(max_length=32)] = "wav"
    """wav, pcm, flac, ogg, opus, mp3 or aac."""
    model: Word = None


class TtsJobPayload(TtsOptions):
    """The payload of kind `tts`."""

    text: Spoken
    name: Name | None = None
    """Of the file, in a batch's zip."""
    stream: bool = False


class TtsRequest(TtsJobPayload):
    """One text to speak. `stream`: the audio comes in pieces, each sentence as soon as it is ready."""

    callback_url: Text | None = None
    priority: Asked | None = None


def tts_payload(context: Context, asked: TtsJobPayload, max_chars: int | None = None) -> dict[str, Any]:
    """The payload of a `tts` job, everything in it checked. Raises `Invalid` that says what would be right."""
    settings = context.settings
    _at("text", check_text, asked.text, max_chars or settings.tts_max_chars)
    speech = choose_speech(context, asked.model)
    language = spoken_language(speech, asked.language)
    if not _has_a_word(asked.text) and not can_be_spoken(normalize(asked.text, language, settings.number_order)):
        detail = "the text has no word that can be spoken: only signs, emoji or markup"
        raise pointed(detail, "nothing_to_speak", "text")
    return TtsPayload(
        text=asked.text,
        model=speech.name,
        language=language,
        voice=spoken_voice(context, speech, asked.voice),
        speed=asked.speed,
        sample_rate_hz=asked.sample_rate,
        format=audio_format(asked.format),
        stream=asked.stream,
        name=asked.name,
    ).model_dump()


def _has_a_word(text: str) -> bool:
    """Certainly something to speak: a quick yes for plain text, which most is."""
    return not _MARKUP.search(text) and bool(_WORD.search(text))


def audio_format(asked: str) -> Any:
    """The name of a format. `Invalid` (unknown_format) with the list."""
    name = asked.strip().lower()
    if name not in AUDIO_FORMATS:
        detail = f"unknown audio format {asked!r}; one of {', '.join(AUDIO_FORMATS)}"
        raise pointed(detail, "unknown_format", "format")
    return name


def spoken_language(speech: Speech, asked: str | None) -> str:
    """A language of the speech model; its first, or Malagasy, when none is asked for. `Invalid` with the list."""
    known = speech.languages
    if asked is None:
        return DEFAULT_LANGUAGE if DEFAULT_LANGUAGE in known or not known else known[0]
    code = asked.strip().lower()
    for wanted in (code, re.split("[-_]", code)[0]):
        if wanted in known or (not known and re.fullmatch("[a-z]{2,3}", wanted)):
            return wanted
    detail = f"{speech.name} does not speak {asked!r}; it speaks {', '.join(known) or 'ISO 639 codes'}"
    raise pointed(detail, "unknown_language", "language")


def spoken_voice(context: Context, speech: Speech, asked: str | None) -> str | None:
    """A voice of the speech model; the operator's choice when none is asked for. `Invalid` with the list."""
    voice = asked or context.settings.tts_voice.strip() or None
    if voice is None or not speech.languages or voice in speech.voices:
        return voice
    detail = f"{speech.name} has no voice {voice!r}; it has {', '.join(speech.voices)}"
    raise pointed(detail, "unknown_voice", "voice")


# --- translation ------------------------------------------------------------------------------------------------------


class TranslateOptions(Closed):
    """Between which languages. ISO 639-1, or NLLB's codes (`plt_Latn`)."""

    source: Annotated[Text, Field(min_length=1, max_length=32)]
    target: Annotated[Text, Field(min_length=1, max_length=32)]
    model: Word = None


class TranslateJobPayload(TranslateOptions):
    """The payload of kind `translate`: exactly one of `text` and `texts`."""

    text: Spoken | None = None
    texts: list[Spoken] | None = Field(None, max_length=MAX_TEXTS)
    name: Name | None = None
    """Of the file, in a batch's zip."""

    @model_validator(mode="after")
    def _one_input(self) -> TranslateJobPayload:
        if (self.text is None) == (self.texts is None):
            raise ValueError("give exactly one of `text` and `texts`")
        return self


class TranslateRequest(TranslateJobPayload):
    """One text, or several of the same two languages."""

    callback_url: Text | None = None
    priority: Asked | None = None


def translate_payload(context: Context, asked: TranslateJobPayload) -> dict[str, Any]:
    """The payload of a `translate` job, everything in it checked. Raises `Invalid` that says what would be right."""
    given = asked.texts if asked.texts is not None else [asked.text or ""]
    if not given:
        raise pointed("`texts` is empty: there is nothing to translate", "empty_text", "texts")
    texts = []
    for index, text in enumerate(given):
        where = "text" if asked.texts is None else f"texts/{index}"
        texts.append(_at(where, translate.check_text, context.settings, text))
    model, languages = choose_translator(context, asked.model)
    source, target = _languages(languages, asked.source, asked.target)
    payload = TranslatePayload(texts=tuple(texts), source=source, target=target, model=model, name=asked.name)
    return payload.model_dump(mode="json")


def _languages(languages: dict[str, str], source: str, target: str) -> tuple[str, str]:
    """Both languages by their short codes, where they have one."""
    try:
        found = translate.check_languages(languages, source, target)
    except Invalid as error:
        which = "target" if error.code == "same_language" or f"target language {target!r}" in error.detail else "source"
        raise pointed(error.detail, error.code, which) from None
    short = {flores: code for code, flores in reversed(languages.items())}
    return short.get(found[0], found[0]), short.get(found[1], found[1])


# --- errors with a pointer --------------------------------------------------------------------------------------------


def pointed(detail: str, code: str, field: str) -> Invalid:
    """`Invalid` that points at a field of the request."""
    return Invalid(detail, code=code, errors=[{"detail": detail, "pointer": f"#/{field}"}])


def _at(field: str, check: Any, *arguments: Any) -> Any:
    """What the check returns; what it refuses, with a pointer."""
    try:
        return check(*arguments)
    except MiloError as error:
        error.errors = error.errors or [{"detail": error.detail, "pointer": f"#/{field}"}]
        raise
