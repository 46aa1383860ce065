"""POST /stt: one recording in, its transcript out, now or later."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Response

from api.answers import renderings, results
from api.answers.accepted import accept_and_wait
from api.answers.documents import JobDocument
from api.http import bodies, memory
from api.http.bodies import Part
from api.http.deps import in_thread
from api.http.problems import documented
from api.requests.forms import Upload, only_file, read_form
from api.requests.incoming import Incoming, Submission
from api.requests.schemas import body_of_form, form_of
from api.requests.sources import check_source
from api.requests.stt import SttFields, SttRequest, check_options, payload_of
from milo.cue_rules import parse_rules
from milo.errors import Invalid
from milo.jobs import AudioSource
from milo.transcription.transcript import Transcript

router = APIRouter(tags=["speech to text"])

RAW = ("audio/", "video/", "application/ogg", "application/octet-stream")
"""Content types of a body that is the recording itself."""


class SttAnswer(Transcript):
    duration_ms: int
    job_id: str
    processing_ms: float


@router.post(
    "/stt",
    summary="Transcribe one recording",
    responses={
        200: {"model": SttAnswer, "description": "the transcript, in the format asked for"},
        202: {"model": JobDocument, "description": "accepted; Location says where to look"},
        **documented(400, 404, 408, 409, 413, 415, 422),
    },
    openapi_extra=body_of_form(form_of(SttFields), SttRequest),
)
async def transcribe(
    incoming: Submission,
    format: str | None = None,
    cues: renderings.Cues = None,
    language: str | None = None,
    model: str | None = None,
    task: str | None = None,
    prompt: str | None = None,
    name: str | None = None,
    word_timestamps: str | None = None,
    channels: str | None = None,
) -> Response:
    """The recording in a form, in JSON, or as the body itself (`Content-Type: audio/…`), with `language`, `model`,
    `task`, `prompt`, `name`, `word_timestamps` and `channels` in the query then.

    Waits for the transcript as long as `Prefer: wait=N` says (30 s without it), then answers 202.
    `Prefer: respond-async` or a `callback_url` answers 202 at once. If the client goes away, the job goes on."""
    if format is not None:
        renderings.check_format(format, "stt")
    parse_rules(cues)
    said = {"language": language, "model": model, "task": task, "prompt": prompt, "name": name}
    said |= {"word_timestamps": word_timestamps, "channels": channels}
    beside = {key: value for key, value in said.items() if value}
    asked, source = await _read(incoming, beside)
    return await accept_and_wait(
        incoming,
        "stt",
        asked,
        partial(results.stt_answer, format=format, cues=cues),
        lambda: payload_of(check_options(incoming.context, asked), source),
        priority=asked.priority,
    )


async def _read(incoming: Incoming, beside: dict[str, str]) -> tuple[SttFields, AudioSource]:
    """The fields and the audio of the request, the audio stored. Everything that can be refused is, before that."""
    if bodies.content_type(incoming.request).startswith(RAW):
        return await _read_raw(incoming, bodies.validate(beside, SttFields))
    if beside:
        first = next(iter(beside))
        detail = f"{first} goes into the query only where the body is the recording; put it into the form or the JSON"
        raise Invalid(detail, errors=[{"detail": detail, "parameter": first}])
    if bodies.is_multipart(incoming.request):
        return await _read_form(incoming)
    asked = await incoming.read_json(SttRequest)
    large = len(asked.audio or "") > memory.LARGE_BYTES
    source = await in_thread(_take_json, incoming, asked)
    fields = SttFields.model_validate(asked.model_dump(include=set(SttFields.model_fields)))
    del asked  # and with it the audio: the answer may be half a minute away
    if large:
        await in_thread(memory.give_back)
    return fields, source


async def _read_raw(incoming: Incoming, asked: SttFields) -> tuple[SttFields, AudioSource]:
    await in_thread(_check, incoming, asked)
    blob = await incoming.blobs.receive(incoming.request.stream(), incoming.context.settings.max_upload_bytes)
    return asked, _source(asked, Upload(blob, None))


def _take_json(incoming: Incoming, asked: SttRequest) -> AudioSource:
    """Store the audio, or find it."""
    _check(incoming, asked)
    context = incoming.context
    if asked.audio is None:
        path_name = (asked.path or "audio").rstrip("/").rsplit("/", 1)[-1]
        source = AudioSource(blob=asked.blob, path=asked.path, name=asked.name or path_name or "audio")
        return check_source(context, incoming.key, source)
    blob = incoming.blobs.put(bodies.decode_base64(asked.audio), context.settings.max_upload_bytes)
    return _source(asked, Upload(blob, None))


def _check(incoming: Incoming, asked: SttFields) -> None:
    """What is cheaper to find out before the audio is stored."""
    incoming.check_callback(asked.callback_url)
    check_options(incoming.context, asked)
    incoming.need_redis()


def _source(asked: SttFields, upload: Upload) -> AudioSource:
    return upload.source(asked.name, f"audio.{asked.format.lower()}" if asked.format else "audio")


async def _read_form(incoming: Incoming) -> tuple[SttFields, AudioSource]:
    await in_thread(incoming.need_redis)
    fields: dict[str, str] = {}

    async def take_field(part: Part) -> None:
        if part.name in fields:
            raise Invalid(f"the form field {part.name!r} comes twice")
        fields[part.name] = await part.text()

    async def check_before_file() -> None:
        await in_thread(_check, incoming, _fields(fields))

    context = incoming.context
    uploads = await read_form(
        incoming.request,
        incoming.blobs,
        context.settings.max_upload_bytes,
        max_parts=32,
        take_field=take_field,
        before_file=check_before_file,
        second_file=Invalid("the form has two `file` parts; POST /api/v1/batches takes many", code="two_files"),
    )
    asked = _fields(fields)
    await in_thread(_check, incoming, asked)
    return asked, _source(asked, only_file(uploads))


def _fields(fields: dict[str, str]) -> SttFields:
    """Form fields as a model; an empty one counts as not sent."""
    return bodies.validate({name: value for name, value in fields.items() if value != ""}, SttFields)
