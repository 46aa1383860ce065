"""OpenAI's /v1/audio/transcriptions and /v1/audio/translations, as the `openai` package calls them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Annotated, Literal, TypeVar

from fastapi import APIRouter, Response
from pydantic import Field
from starlette.responses import JSONResponse

from api.answers.accepted import finished
from api.answers.openai_transcripts import json_answer, stream, text_answer
from api.answers.renderings import cue_rules, transcript_of
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
from milo.kinds.stt import CueText, SttOptions

router = APIRouter(prefix="/audio", tags=["as OpenAI"])


class TranslationFields(Closed):
    """The form of /v1/audio/translations."""

    model: Annotated[Text, Field(min_length=1, max_length=255)]
    prompt: Annotated[Text, Field(max_length=2000)] | None = None
    response_format: Literal["json", "text", "srt", "verbose_json", "vtt"] = "json"
    temperature: float | None = Field(None, ge=0, le=1)
    cues: CueText | None = None
    """Milo's own: how `srt` and `vtt` are cut."""
    channels: Literal["mix", "separate"] = "mix"
    """Milo's own: `separate` makes each channel a speaker, whom `diarized_json`, `srt` and `vtt` name."""


class TranscriptionFields(TranslationFields):
    """The form of /v1/audio/transcriptions."""

    response_format: Literal["json", "text", "srt", "verbose_json", "vtt", "diarized_json"] = "json"  # type: ignore[assignment]
    language: OptionalName = None
    timestamp_granularities: list[Literal["word", "segment"]] = []
    stream: bool = False
    languages: list[Text] = Field([], max_length=1)
    chunking_strategy: Literal["auto", "server_vad"] | None = None
    """Milo always cuts by voice activity."""
    include: list[Literal["logprobs"]] = []
    known_speaker_names: list[Text] = Field([], max_length=4)
    """Read and not used, as long as speakers are not told apart; so is `known_speaker_references`."""


LISTS = ("timestamp_granularities", "languages", "include", "known_speaker_names")
WHISPER_1 = "whisper-1"
"""OpenAI's own Whisper can do less than its `gpt-…` models, and says so."""
TIMED_FORMATS = ("srt", "vtt", "verbose_json", "diarized_json")
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
        return Events(_events(context, steps, asked), steps, {"X-Milo-Job-Id": job.id})
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
        incoming.blobs,
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
    if base in LISTS:
        given[base] = [*given.get(base, []), value]
    elif base == "chunking_strategy":
        if inner in (None, "type"):
            given[base] = "server_vad" if value.lstrip().startswith("{") else value
    elif base == "known_speaker_references":
        pass
    elif name in given:
        raise openai_errors.param_error(f"the form field {name!r} comes twice", name, "invalid_value")
    elif value != "":
        given[name] = value


def _options(context: Context, asked: TranslationFields) -> SttOptions:
    """The options of the job, checked. Raises as OpenAI would for a model that is not here."""
    wanted = asked if isinstance(asked, TranscriptionFields) else TranscriptionFields.model_validate({"model": "-"})
    if asked.model == WHISPER_1:
        _check_whisper_1(wanted)
    timed = asked.response_format in TIMED_FORMATS or bool(wanted.include)
    options = {
        "model": resolve_model(context.settings, "stt", asked.model),
        "language": wanted.language or next(iter(wanted.languages), None),
        "task": "transcribe" if wanted is asked else "translate",
        "prompt": asked.prompt,
        "temperature": asked.temperature or None,
        "word_timestamps": timed,
        "cues": asked.cues,
        "channels": asked.channels,
    }
    try:
        return check_options(context, bodies.validate(options, SttOptions))
    except Invalid as error:
        raise as_not_found(asked.model, error) from None


def _check_whisper_1(asked: TranscriptionFields) -> None:
    """What OpenAI refuses for this model and ignores for its others."""
    if asked.timestamp_granularities and asked.response_format != "verbose_json":
        detail = "timestamp_granularities need response_format=verbose_json"
        raise openai_errors.param_error(detail, "timestamp_granularities", "invalid_value")
    if asked.response_format == "diarized_json":
        detail = "response_format=diarized_json needs another model than whisper-1: gpt-4o-transcribe-diarize"
        raise openai_errors.param_error(detail, "response_format", "invalid")
    if asked.include:
        raise openai_errors.param_error(
            "include[]=logprobs needs another model: gpt-4o-transcribe", "include", "invalid"
        )


def _answer(context: Context, job: Job, asked: TranslationFields) -> Response:
    transcript, format = transcript_of(context, job), asked.response_format
    headers = headers_of(job)
    if format in ("text", "srt", "vtt"):
        text = text_answer(transcript, format, cue_rules(context, job))
        return Response(text, headers=headers, media_type="text/plain; charset=utf-8")
    wanted = asked if isinstance(asked, TranscriptionFields) else None
    granularities = wanted.timestamp_granularities if wanted else []
    document = json_answer(transcript, format, granularities, logprobs=bool(wanted and wanted.include))
    return JSONResponse(document, headers=headers)


async def _events(context: Context, steps: Steps, asked: TranscriptionFields) -> AsyncIterator[Event]:
    async for job in steps:
        assert isinstance(job, Job), "a silent job said something"
        if job.state != "succeeded":
            yield openai_errors.error_event(failure(job))
            return
        transcript = await in_thread(transcript_of, context, job)
        for document in stream(transcript, asked.response_format, logprobs=bool(asked.include)):
            yield openai_errors.event(document, document["type"])
