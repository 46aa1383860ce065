"""OpenAI's audio paths: /v1/audio/transcriptions, /translations and /speech, as the `openai` package calls them."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, field_validator
from starlette.responses import JSONResponse

from api import bodies, openai
from api.aliases import as_not_found, resolve_model
from api.answers import finished
from api.choices import choose_speech
from api.deps import Context, Ctx, Writer, in_thread
from api.problems import documented, invalid
from api.renderings import transcript_of
from api.results import headers_of
from api.routes.tts import audio_answer, body_of
from api.streaming import Events, Steps, audio_pieces, failure, open_audio
from api.submit import Closed, SttOptions, Text, file_name, new_job, stt_payload, submit
from api.texts import Spoken, TtsJobPayload, Word, tts_payload
from milo import queue
from milo.errors import BadMedia, Invalid, MiloError
from milo.files import Blob
from milo.jobs import AudioSource, Job
from milo.keys import Key
from milo.transcript import Transcript, render
from milo.voices import Speech
from milo.words import guess_language

router = APIRouter(prefix="/audio", tags=["as OpenAI"])

MAX_INPUT = 4096
PCM_HZ = 24_000
"""Raw samples carry no rate; OpenAI's have this one, and its clients play it so."""
WHOLE = ("wav", "flac")
"""Formats whose headers tell the length: sent when it is known, unless streaming is asked for."""
VOICES: dict[str, str] = {
    "alloy": "f1",
    "ash": "m2",
    "ballad": "m4",
    "coral": "f2",
    "echo": "m1",
    "fable": "m3",
    "nova": "f3",
    "onyx": "m7",
    "sage": "f4",
    "shimmer": "f5",
    "verse": "m5",
    "marin": "f2",
    "cedar": "m6",
}
"""OpenAI's voices as eSpeak NG's; another model's are dealt out in the same order."""


# --- transcriptions ---------------------------------------------------------------------------------------------------


class TranslationFields(Closed):
    """The form of /v1/audio/translations."""

    model: Annotated[Text, Field(min_length=1, max_length=255)]
    prompt: Annotated[Text, Field(max_length=2000)] | None = None
    response_format: Literal["json", "text", "srt", "verbose_json", "vtt"] = "json"
    temperature: float | None = Field(None, ge=0, le=1)


class TranscriptionFields(TranslationFields):
    """The form of /v1/audio/transcriptions."""

    language: Word = None
    timestamp_granularities: list[Literal["word", "segment"]] = []
    stream: bool = False
    languages: list[Text] = Field([], max_length=1)
    chunking_strategy: Literal["auto", "server_vad"] | None = None
    """Milo always cuts by voice activity."""


FORM_SCHEMA = {
    "type": "object",
    "required": ["file", "model"],
    "properties": {"file": {"type": "string", "format": "binary"}},
}


def _form_of(schema: str) -> dict[str, Any]:
    form = FORM_SCHEMA | {"allOf": [{"$ref": f"#/components/schemas/{schema}"}]}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}}}


STATUSES: dict[int | str, dict[str, Any]] = documented(400, 404, 408, 413)


@router.post(
    "/transcriptions",
    summary="Transcribe, as OpenAI does",
    responses={200: {"description": "the transcript in `response_format`, or its events"}, **STATUSES},
    openapi_extra=_form_of("TranscriptionFields"),
)
async def transcriptions(request: Request, context: Ctx, key: Writer) -> Response:
    """`whisper-1` and `gpt-…-transcribe` mean the configured model. Errors are in OpenAI's shape. With `stream` each
    segment is a `transcript.text.delta`."""
    asked, source = await _read(request, context, TranscriptionFields)
    job = await in_thread(_submit, request, context, key, asked, source)
    if asked.stream:
        steps = Steps(context, job.id, silent=True)
        return Events(_events(context, steps), steps, {"X-Milo-Job-Id": job.id})
    job = await finished(context, request, job)
    return await in_thread(_answer, context, job, asked)


@router.post(
    "/translations",
    summary="Transcribe into English, as OpenAI does",
    responses={200: {"description": "the English text in `response_format`"}, **STATUSES},
    openapi_extra=_form_of("TranslationFields"),
)
async def translations(request: Request, context: Ctx, key: Writer) -> Response:
    """For a model that was trained to translate; 400 for another one."""
    asked, source = await _read(request, context, TranslationFields)
    job = await in_thread(_submit, request, context, key, asked, source)
    job = await finished(context, request, job)
    return await in_thread(_answer, context, job, asked)


async def _read(request: Request, context: Context, model: type[Any]) -> tuple[Any, AudioSource]:
    """The fields, checked before the file is stored where they come before it, and the file."""
    if not bodies.is_multipart(request):
        raise Invalid("send multipart/form-data with a part named `file`", code="bad_multipart")
    await in_thread(queue.ping_redis, context.settings)
    given: dict[str, Any] = {}
    blob: Blob | None = None
    name: str | None = None
    async for part in bodies.Multipart(request, max_parts=64).parts():
        if part.name != "file":
            _put(given, part.name, await part.text())
        elif blob is None:
            if "model" in given:
                await in_thread(_options, context, bodies.validate(given, model))
            blob = await context.files.receive_blob(part.chunks(), context.settings.max_upload_bytes)
            name = part.filename
        else:
            raise openai.param_error("the form has two `file` parts", "file", "invalid_value")
    asked = bodies.validate(given, model)
    await in_thread(_options, context, asked)
    if blob is None:
        raise invalid([{"loc": ("file",), "msg": "Missing required parameter: 'file'.", "type": "missing"}])
    if blob.size_bytes == 0:
        raise BadMedia("The file is empty (0 bytes).", code="empty_audio")
    return asked, AudioSource(blob=blob.id, name=file_name(name))


def _put(given: dict[str, Any], name: str, value: str) -> None:
    """A form field as OpenAI's clients write lists (`a[]`) and objects (`a[b]`)."""
    found = re.fullmatch(r"([^\[\]]+)\[(.*)\]", name)
    base, inner = (found[1], found[2]) if found else (name, None)
    if base in ("timestamp_granularities", "languages") or inner == "":
        given.setdefault(base, []).append(value)
    elif base == "chunking_strategy" and inner == "type":
        given[base] = value
    elif name in given:
        raise openai.param_error(f"the form field {name!r} comes twice", name, "invalid_value")
    elif value != "":
        given[name] = value


def _options(context: Context, asked: TranslationFields) -> dict[str, Any]:
    """The payload of the job but for its audio. Raises as OpenAI would for a model that is not here."""
    wanted = asked if isinstance(asked, TranscriptionFields) else None
    granularities = wanted.timestamp_granularities if wanted else []
    if granularities and asked.response_format != "verbose_json":
        detail = "timestamp_granularities need response_format=verbose_json"
        raise openai.param_error(detail, "timestamp_granularities", "invalid_value")
    options = SttOptions(
        model=resolve_model(context.settings, "stt", asked.model),
        language=(wanted.language or next(iter(wanted.languages), None)) if wanted else None,
        task="transcribe" if wanted else "translate",
        prompt=asked.prompt,
        temperature=asked.temperature or None,
        word_timestamps="word" in granularities,
    )
    try:
        return stt_payload(context, options, AudioSource(path="-"))
    except Invalid as error:
        raise as_not_found(asked.model, error) from None


def _submit(request: Request, context: Context, key: Key, asked: TranslationFields, source: AudioSource) -> Job:
    payload = _options(context, asked) | {"source": source.model_dump()}
    return submit(context, new_job(request, key, "stt", payload, None, None, "realtime"))


def _answer(context: Context, job: Job, asked: TranslationFields) -> Response:
    transcript = transcript_of(context, job)
    headers = headers_of(job)
    if asked.response_format in ("text", "srt", "vtt"):
        text = f"{transcript.text}\n" if asked.response_format == "text" else render(transcript, asked.response_format)
        return Response(text, headers=headers, media_type="text/plain; charset=utf-8")
    usage = {"type": "duration", "seconds": round(transcript.duration)}
    if asked.response_format == "json":
        return JSONResponse({"text": transcript.text, "usage": usage}, headers=headers)
    return JSONResponse(_verbose(transcript, asked), headers=headers)


def _verbose(transcript: Transcript, asked: TranslationFields) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(render(transcript, "verbose_json"))
    translated = transcript.task == "translate"
    document["language"] = "english" if translated else transcript.language or ""
    wanted = asked.timestamp_granularities if isinstance(asked, TranscriptionFields) else []
    if "word" not in wanted:
        document.pop("words")
    elif "segment" not in wanted:
        document.pop("segments")
    return document


async def _events(context: Context, steps: Steps) -> AsyncIterator[dict[str, str]]:
    async for job in steps:
        assert isinstance(job, Job), "a silent job said something"
        if job.state != "succeeded":
            yield openai.error_event(failure(job))
            return
        transcript = await in_thread(transcript_of, context, job)
        for delta in _deltas(transcript):
            yield openai.event({"type": "transcript.text.delta", "delta": delta}, "transcript.text.delta")
        languages = [{"code": transcript.language}] if transcript.language else []
        done = {"type": "transcript.text.done", "text": transcript.text, "languages": languages}
        yield openai.event(done, "transcript.text.done")


def _deltas(transcript: Transcript) -> list[str]:
    texts = [segment.text.strip() for segment in transcript.segments if segment.text.strip()]
    deltas = [text if index == 0 else f" {text}" for index, text in enumerate(texts)]
    return deltas if "".join(deltas) == transcript.text else [transcript.text] if transcript.text else []


# --- speech -----------------------------------------------------------------------------------------------------------


class VoiceId(BaseModel):
    id: Annotated[Text, Field(max_length=255)]


class SpeechRequest(Closed):
    """The body of /v1/audio/speech. `language` is Milo's own; nothing: that of the text's words."""

    model: Annotated[Text, Field(min_length=1, max_length=255)]
    input: Spoken
    voice: Annotated[Text, Field(min_length=1, max_length=255)] | VoiceId
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    speed: float = Field(1.0, ge=0.25, le=4)
    stream_format: Literal["audio", "sse"] | None = None
    instructions: Text | None = None
    """As with tts-1, these have no effect."""
    language: Word = None

    @field_validator("response_format", "speed", mode="before")
    @classmethod
    def _null_is_default(cls, value: Any, info: Any) -> Any:
        return {"response_format": "mp3", "speed": 1.0}[info.field_name] if value is None else value


@router.post(
    "/speech",
    summary="Speak, as OpenAI does",
    responses={200: {"description": "the audio, or its events"}, **STATUSES},
    openapi_extra=body_of("SpeechRequest"),
)
async def speech(request: Request, context: Ctx, key: Writer) -> Response:
    """`tts-1` and `gpt-…-tts` mean the configured model, OpenAI's voices some of Milo's. Compressed audio and pcm are
    sent sentence by sentence; wav and flac when their length is known, unless `stream_format` is `audio`."""
    asked = await bodies.read_json(request, SpeechRequest)
    payload = await in_thread(_speech_payload, context, asked)
    job = await in_thread(submit, context, new_job(request, key, "tts", payload, None, None, "realtime"))
    if asked.stream_format == "sse":
        steps = Steps(context, job.id)
        return Events(_speech_events(steps, asked.response_format), steps, {"X-Milo-Job-Id": job.id})
    if payload["stream"]:
        begun = await open_audio(context, job, context.settings.max_wait_s, {})
        if isinstance(begun, Response):
            return begun
        job = begun
    job = await finished(context, request, job)
    return await in_thread(audio_answer, context, job)


def _speech_payload(context: Context, asked: SpeechRequest) -> dict[str, Any]:
    if len(asked.input) > MAX_INPUT:
        detail = f"input has {len(asked.input)} characters; at most {MAX_INPUT} are spoken at once"
        raise openai.param_error(detail, "input", "string_above_max_length")
    model = resolve_model(context.settings, "tts", asked.model)
    try:
        speech = choose_speech(context, model)
        named = asked.voice.id if isinstance(asked.voice, VoiceId) else asked.voice
        guess = guess_language(asked.input)
        payload = TtsJobPayload(
            text=asked.input,
            model=model,
            voice=voice_of(speech, named),
            language=asked.language or (guess if guess in speech.languages else None),
            speed=asked.speed,
            format=asked.response_format,
            sample_rate=PCM_HZ if asked.response_format == "pcm" else None,
            stream=asked.stream_format is not None or asked.response_format not in WHOLE,
        )
        return tts_payload(context, payload, MAX_INPUT)
    except Invalid as error:
        for one in error.errors or ():
            one["pointer"] = {"#/text": "#/input", "#/format": "#/response_format"}.get(one["pointer"], one["pointer"])
        raise as_not_found(asked.model, error) from None


def voice_of(speech: Speech, name: str) -> str | None:
    """One of the model's own voices, or the one that stands for OpenAI's; None: its only one."""
    if name in speech.voices or name.lower() not in VOICES:
        return name
    meant = VOICES[name.lower()]
    if meant in speech.voices or not speech.voices:
        return meant if speech.voices else None
    return speech.voices[list(VOICES).index(name.lower()) % len(speech.voices)]


async def _speech_events(steps: Steps, format: str) -> AsyncIterator[dict[str, str]]:
    try:
        async for piece in audio_pieces(steps, format):
            delta = {"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode()}
            yield openai.event(delta, "speech.audio.delta")
    except MiloError as error:
        yield openai.error_event(error)
    else:
        yield openai.event({"type": "speech.audio.done"}, "speech.audio.done")
