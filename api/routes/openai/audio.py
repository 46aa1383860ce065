"""OpenAI's /v1/audio/transcriptions and /v1/audio/translations, as the `openai` package calls them."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Annotated, Literal, TypeVar

from fastapi import APIRouter, Response
from pydantic import Field
from starlette.responses import JSONResponse

from api.answers.accepted import finished
from api.answers.renderings import transcript_of
from api.answers.results import headers_of
from api.answers.streaming import Event, Events, Steps, failure
from api.http import bodies, openai_errors
from api.http.bodies import Part
from api.http.deps import Context, in_thread
from api.http.problems import documented_openai
from api.requests.aliases import as_not_found, resolve_model
from api.requests.forms import only_file, read_form
from api.requests.incoming import Incoming, Submission, submit
from api.requests.schemas import body_of_form, form_of
from api.requests.stt import check_options, payload_of
from milo.errors import Invalid
from milo.jobs import AudioSource, Job
from milo.kinds.fields import Closed, OptionalName, Text
from milo.kinds.kind import Document
from milo.kinds.stt import SttOptions
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

    language: OptionalName = None
    timestamp_granularities: list[Literal["word", "segment"]] = []
    stream: bool = False
    languages: list[Text] = Field([], max_length=1)
    chunking_strategy: Literal["auto", "server_vad"] | None = None
    """Milo always cuts by voice activity."""


Form = dict[str, str | list[str]]
"""The fields of a form, those that are lists collected."""
Fields = TypeVar("Fields", bound=TranslationFields)
STATUSES = documented_openai(400, 404, 408, 413)


@router.post(
    "/transcriptions",
    summary="Transcribe, as OpenAI does",
    responses={200: {"description": "the transcript in `response_format`, or its events"}, **STATUSES},
    openapi_extra=body_of_form(form_of(TranscriptionFields, "model")),
)
async def transcriptions(incoming: Submission) -> Response:
    """`whisper-1` and `gpt-…-transcribe` mean the configured model. Errors are in OpenAI's shape. With `stream` each
    segment is a `transcript.text.delta`."""
    context, request = incoming.context, incoming.request
    asked, source = await _read(incoming, TranscriptionFields)
    job = await submit(incoming, "stt", lambda: payload_of(_options(context, asked), source))
    if asked.stream:
        steps = Steps(context, job.id, silent=True)
        return Events(_events(context, steps), steps, {"X-Milo-Job-Id": job.id})
    job = await finished(context, request, job)
    return await in_thread(_answer, context, job, asked)


@router.post(
    "/translations",
    summary="Transcribe into English, as OpenAI does",
    responses={200: {"description": "the English text in `response_format`"}, **STATUSES},
    openapi_extra=body_of_form(form_of(TranslationFields, "model")),
)
async def translations(incoming: Submission) -> Response:
    """For a model that was trained to translate; 400 for another one."""
    context = incoming.context
    asked, source = await _read(incoming, TranslationFields)
    job = await submit(incoming, "stt", lambda: payload_of(_options(context, asked), source))
    job = await finished(context, incoming.request, job)
    return await in_thread(_answer, context, job, asked)


async def _read(incoming: Incoming, model: type[Fields]) -> tuple[Fields, AudioSource]:
    """The fields, checked before the file is stored where they come before it, and the file."""
    if not bodies.is_multipart(incoming.request):
        raise Invalid("send multipart/form-data with a part named `file`", code="bad_multipart")
    await in_thread(incoming.need_redis)
    context, given = incoming.context, Form()

    async def take_field(part: Part) -> None:
        _put(given, part.name, await part.text())

    async def check_before_file() -> None:
        if "model" in given:
            await in_thread(_options, context, bodies.validate(given, model))

    uploads = await read_form(
        incoming.request,
        context.files,
        context.settings.max_upload_bytes,
        max_parts=64,
        take_field=take_field,
        before_file=check_before_file,
        second_file=openai_errors.param_error("the form has two `file` parts", "file", "invalid_value"),
    )
    asked = bodies.validate(given, model)
    await in_thread(_options, context, asked)
    return asked, only_file(uploads, "Missing required parameter: 'file'.").source()


def _put(given: Form, name: str, value: str) -> None:
    """A form field as OpenAI's clients write lists (`a[]`) and objects (`a[b]`)."""
    match = re.fullmatch(r"([^\[\]]+)\[(.*)\]", name)
    base, inner = (match[1], match[2]) if match else (name, None)
    if base in ("timestamp_granularities", "languages"):
        given[base] = [*given.get(base, []), value]
    elif base == "chunking_strategy" and inner == "type":
        given[base] = value
    elif name in given:
        raise openai_errors.param_error(f"the form field {name!r} comes twice", name, "invalid_value")
    elif value != "":
        given[name] = value


def _options(context: Context, asked: TranslationFields) -> SttOptions:
    """The options of the job, checked. Raises as OpenAI would for a model that is not here."""
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
        return check_options(context, bodies.validate(options, SttOptions))
    except Invalid as error:
        raise as_not_found(asked.model, error) from None


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


def _verbose(transcript: Transcript, asked: TranslationFields) -> Document:
    document: Document = json.loads(render(transcript, "verbose_json"))
    translated = transcript.task == "translate"
    document["language"] = "english" if translated else transcript.language or ""
    wanted = asked.timestamp_granularities if isinstance(asked, TranscriptionFields) else []
    if "word" not in wanted:
        document.pop("words")
    elif "segment" not in wanted:
        document.pop("segments")
    return document


async def _events(context: Context, steps: Steps) -> AsyncIterator[Event]:
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
