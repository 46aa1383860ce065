"""OpenAI's /v1/audio/transcriptions and /v1/audio/translations, as the `openai` package calls them."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import Field
from starlette.responses import JSONResponse

from api.answers.accepted import finished
from api.answers.renderings import transcript_of
from api.answers.results import headers_of
from api.answers.streaming import Events, Steps, failure
from api.http import bodies, openai_errors
from api.http.deps import Context, Ctx, Writer, in_thread
from api.http.problems import documented_openai, invalid
from api.requests.aliases import as_not_found, resolve_model
from api.requests.stt import Closed, SttOptions, Text, file_name, new_job, stt_payload, submit
from api.requests.texts import Word
from milo.errors import BadMedia, Invalid
from milo.jobs import AudioSource, Job
from milo.ledger.keys import Key
from milo.queue.connection import ping_redis
from milo.storage.files import Blob
from milo.transcription.transcript import Transcript, render

router = APIRouter(prefix="/audio", tags=["as OpenAI"])


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


STATUSES: dict[int | str, dict[str, Any]] = documented_openai(400, 404, 408, 413)


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
    await in_thread(ping_redis, context.settings)
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
            raise openai_errors.param_error("the form has two `file` parts", "file", "invalid_value")
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
    if base in ("timestamp_granularities", "languages"):
        given.setdefault(base, []).append(value)
    elif base == "chunking_strategy" and inner == "type":
        given[base] = value
    elif name in given:
        raise openai_errors.param_error(f"the form field {name!r} comes twice", name, "invalid_value")
    elif value != "":
        given[name] = value


def _options(context: Context, asked: TranslationFields) -> dict[str, Any]:
    """The payload of the job but for its audio. Raises as OpenAI would for a model that is not here."""
    wanted = asked if isinstance(asked, TranscriptionFields) else None
    granularities = wanted.timestamp_granularities if wanted else []
    if granularities and asked.response_format != "verbose_json":
        detail = "timestamp_granularities need response_format=verbose_json"
        raise openai_errors.param_error(detail, "timestamp_granularities", "invalid_value")
    options = {
        "model": resolve_model(context.settings, "stt", asked.model),
        "language": (wanted.language or next(iter(wanted.languages), None)) if wanted else None,
        "task": "transcribe" if wanted else "translate",
        "prompt": asked.prompt,
        "temperature": asked.temperature or None,
        "word_timestamps": "word" in granularities,
    }
    try:
        return stt_payload(context, bodies.validate(options, SttOptions), AudioSource(path="-"))
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
            yield openai_errors.error_event(failure(job))
            return
        transcript = await in_thread(transcript_of, context, job)
        for delta in _deltas(transcript):
            yield openai_errors.event({"type": "transcript.text.delta", "delta": delta}, "transcript.text.delta")
        languages = [{"code": transcript.language}] if transcript.language else []
        done = {"type": "transcript.text.done", "text": transcript.text, "languages": languages}
        yield openai_errors.event(done, "transcript.text.done")


def _deltas(transcript: Transcript) -> list[str]:
    texts = [segment.text.strip() for segment in transcript.segments if segment.text.strip()]
    deltas = [text if index == 0 else f" {text}" for index, text in enumerate(texts)]
    return deltas if "".join(deltas) == transcript.text else [transcript.text] if transcript.text else []
