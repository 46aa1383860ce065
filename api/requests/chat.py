"""Chat messages: checked against the models of this server, and their place in the line of their session."""

from __future__ import annotations

from pathlib import Path

from api.http.deps import Context
from api.http.session_place import one_at_a_time, place_in_line
from api.requests.errors import pointed
from api.requests.models import choose_speech
from api.requests.tts import spoken_language, spoken_voice
from api.requests.writing import write_job
from milo.chat.cloud_key import usable_key
from milo.chat.message import check_message
from milo.configured import require
from milo.errors import Invalid, ModelUnavailable
from milo.jobs import Job, NewJob
from milo.kinds.chat import ChatInput, ChatPayload
from milo.kinds.fields import Delivery
from milo.ledger.keys import Key
from milo.settings import Settings
from milo.translation.flores import ALL_CODES, find_language, known_languages


class ChatRequest(ChatInput, Delivery):
    """One message. `stream`: the reply comes word by word, as server-sent events."""

    stream: bool | None = None


def check(context: Context, key: Key, asked: ChatInput) -> ChatPayload:
    """The payload of a `chat` job but for its place in line, everything in it checked."""
    settings = context.settings
    try:
        message = check_message(asked.message, settings)
    except Invalid as error:
        raise pointed(error.detail, "message", error.code) from None
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
        stream=isinstance(asked, ChatRequest) and bool(asked.stream),
    )


def _language(asked: str | None) -> str | None:
    if asked is None:
        return None
    languages = known_languages(ALL_CODES)
    flores = find_language(asked, languages)
    if flores is None:
        detail = f"{asked!r} is not a language Milo knows the code of; mg, fr and en are the ones it is made for"
        raise pointed(detail, "language", "unknown_language")
    return next(short for short, code in languages.items() if code == flores)


def check_chat_model(settings: Settings) -> None:
    """Whether there may be a model that answers. `ModelUnavailable` (503) with the way out when there is none."""
    if usable_key(settings.anthropic_api_key):
        return
    try:
        require(settings, "chat")
    except ModelUnavailable as error:
        error.detail = f"there is no chat model: {error.detail}"
        raise


def chat_model_name(settings: Settings) -> str:
    """What the model is called in public: a file by its stem, never by its path."""
    name = settings.chat_model.strip()
    return Path(name).stem if name.lower().endswith(".gguf") else name.rstrip("/").rsplit("/", 1)[-1]


def write(context: Context, new: NewJob) -> Job:
    """Take a place in the line of the session, and queue. The same Idempotency-Key again: the job of the first time."""
    owner, session_id = new.owner, new.payload["session_id"]
    if new.idempotency_key:
        first = context.ledger.earlier(owner, new.idempotency_key, new.fingerprint or "")
        if first:
            return first
    if new.payload["messages"]:
        return write_job(context, new)
    try:
        with one_at_a_time(owner, session_id), place_in_line(context, owner, session_id) as place:
            placed = {"session_id": place.session_id, "ticket": place.ticket}
            job = write_job(context, new.model_copy(update={"payload": new.payload | placed}))
            if job.payload | placed != job.payload:
                raise _Overtaken(job)
            return job
    except _Overtaken as other:
        return other.job


class _Overtaken(Exception):
    """The same request came twice at once, and the other one was first."""

    def __init__(self, job: Job) -> None:
        self.job = job
