"""POST /stt: one recording in, its transcript out, now or later."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from api.answers import renderings, results
from api.answers.accepted import answer, default_priority
from api.answers.documents import JobDocument
from api.http import bodies, memory, prefer
from api.http.deps import Context, Ctx, Writer, in_thread
from api.http.problems import documented, invalid
from api.requests.stt import (
    SttFields,
    SttRequest,
    check_callback,
    check_source,
    file_name,
    idempotency_key,
    new_job,
    stt_payload,
    submit,
)
from milo.errors import BadMedia, Invalid
from milo.jobs import AudioSource
from milo.queue.connection import ping_redis
from milo.storage.files import Blob
from milo.transcription.transcript import Transcript

router = APIRouter(tags=["speech to text"])


class SttAnswer(Transcript):
    job_id: str
    processing_ms: float


FORM: dict[str, Any] = {
    "type": "object",
    "required": ["file"],
    "properties": {"file": {"type": "string", "format": "binary"}},
    "allOf": [{"$ref": "#/components/schemas/SttFields"}],
}
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/SttRequest"}},
            "multipart/form-data": {"schema": FORM},
        },
    }
}


@router.post(
    "/stt",
    summary="Transcribe one recording",
    responses={
        200: {"model": SttAnswer, "description": "the transcript, in the format asked for"},
        202: {"model": JobDocument, "description": "accepted; Location says where to look"},
        **documented(400, 404, 408, 409, 413, 415, 422),
    },
    openapi_extra=BODY,
)
async def transcribe(request: Request, context: Ctx, key: Writer, format: str | None = None) -> Response:
    """Waits for the transcript as long as `Prefer: wait=N` says (30 s without it), then answers 202.
    `Prefer: respond-async` or a `callback_url` answers 202 at once. If the client goes away, the job goes on."""
    if format is not None:
        renderings.check_format(format, "stt")
    idempotency_key(request)
    asked, source = await _read(request, context)
    preferred = prefer.read(request, context.settings, asynchronous=asked.callback_url is not None)
    payload = await in_thread(stt_payload, context, asked, source)
    new = new_job(request, key, "stt", payload, asked.callback_url, asked.priority, default_priority(preferred))
    job = await in_thread(submit, context, new)
    return await answer(context, request, job, preferred, partial(results.stt_answer, format=format))


async def _read(request: Request, context: Context) -> tuple[SttFields, AudioSource]:
    """The fields and the audio of the request, the audio stored. Everything that can be refused is, before that."""
    if bodies.is_multipart(request):
        return await _read_form(request, context)
    asked = await bodies.read_json(request, SttRequest)
    large = len(asked.audio or "") > memory.LARGE_BYTES
    source = await in_thread(_take_json, context, asked)
    fields = SttFields.model_validate(asked.model_dump(include=set(SttFields.model_fields)))
    del asked  # and with it the audio: the answer may be half a minute away
    if large:
        await in_thread(memory.give_back)
    return fields, source


def _take_json(context: Context, asked: SttRequest) -> AudioSource:
    """Store the audio, or find it."""
    _check(context, asked)
    ping_redis(context.settings)
    if asked.audio is None:
        path_name = (asked.path or "audio").rstrip("/").rsplit("/", 1)[-1]
        source = AudioSource(blob=asked.blob, path=asked.path, name=asked.name or path_name or "audio")
        return check_source(context, source)
    blob = context.files.put_blob(bodies.decode_base64(asked.audio), context.settings.max_upload_bytes)
    return _source(asked, blob)


def _check(context: Context, asked: SttFields) -> None:
    """What is cheaper to find out before the audio is stored."""
    check_callback(context.settings, asked.callback_url)
    stt_payload(context, asked, AudioSource(path="-"))


def _source(asked: SttFields, blob: Blob, name: str | None = None) -> AudioSource:
    if blob.size_bytes == 0:
        raise BadMedia("The file is empty (0 bytes).", code="empty_audio")
    fallback = f"audio.{asked.format.lower()}" if asked.format else "audio"
    return AudioSource(blob=blob.id, name=asked.name or file_name(name, fallback))


async def _read_form(request: Request, context: Context) -> tuple[SttFields, AudioSource]:
    await in_thread(ping_redis, context.settings)
    fields: dict[str, str] = {}
    blob: Blob | None = None
    name: str | None = None
    form = bodies.Multipart(request, max_parts=32)
    async for part in form.parts():
        if part.name == "file":
            if blob is not None:
                raise Invalid("the form has two `file` parts; POST /api/v1/batches takes many", code="two_files")
            await in_thread(_check, context, _fields(fields))  # those before the file, before it is stored
            blob = await context.files.receive_blob(part.chunks(), context.settings.max_upload_bytes)
            name = part.filename
        elif part.name in fields:
            raise Invalid(f"the form field {part.name!r} comes twice")
        else:
            fields[part.name] = await part.text()
    asked = _fields(fields)
    await in_thread(_check, context, asked)
    if blob is None:
        missing = {"loc": ("file",), "msg": "the form has no part named `file`", "type": "missing"}
        raise invalid([missing])
    return asked, _source(asked, blob, name)


def _fields(fields: dict[str, str]) -> SttFields:
    """Form fields as a model; an empty one counts as not sent."""
    return bodies.validate({name: value for name, value in fields.items() if value != ""}, SttFields)
