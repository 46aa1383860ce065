"""POST /tts: a text in, speech out: as a file when it is done, or in pieces while it is being spoken."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from api.answers import renderings, results
from api.answers.accepted import answer, default_priority
from api.answers.documents import JobDocument
from api.answers.streaming import open_audio
from api.http import bodies, prefer
from api.http.deps import Context, Ctx, Writer, in_thread
from api.http.prefer import Prefer
from api.http.problems import documented
from api.requests.stt import check_callback, idempotency_key, new_job, submit
from api.requests.texts import TtsRequest, tts_payload
from milo.audio.formats import MEDIA_TYPES
from milo.jobs import Job

router = APIRouter(tags=["text to speech"])

ENDED_S = 0.001
"""No more waiting: the answer as it is now."""


def body_of(schema: str) -> dict[str, Any]:
    """The documentation of a JSON body that the route reads by itself."""
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"requestBody": {"required": True, "content": content}}


@router.post(
    "/tts",
    summary="Speak a text",
    responses={
        200: {"description": "the audio", "content": {name: {} for name in sorted(set(MEDIA_TYPES.values()))}},
        202: {"model": JobDocument, "description": "accepted; Location says where to look"},
        **documented(400, 408, 409, 413, 415, 422),
    },
    openapi_extra=body_of("TtsRequest"),
)
async def speak(request: Request, context: Ctx, key: Writer) -> Response:
    """Answers with the audio in the format asked for, `X-Milo-Job-Id` and `X-Audio-Duration-S`. With `stream`, each
    sentence is sent as soon as it is spoken, and the job is cancelled when the client goes away. `Prefer` and
    `callback_url` as everywhere."""
    idempotency_key(request)
    asked = await bodies.read_json(request, TtsRequest)
    await in_thread(check_callback, context.settings, asked.callback_url)
    preferred = prefer.read(request, context.settings, asynchronous=asked.callback_url is not None)
    payload = await in_thread(tts_payload, context, asked)
    new = new_job(request, key, "tts", payload, asked.callback_url, asked.priority, default_priority(preferred))
    job = await in_thread(submit, context, new)
    if asked.stream and preferred.wait_s > 0:
        begun = await open_audio(context, job, preferred.wait_s, preferred.headers)
        if isinstance(begun, Response):
            return begun
        job, preferred = begun, Prefer(ENDED_S, preferred.applied)
    return await answer(context, request, job, preferred, audio_answer)


def audio_answer(context: Context, job: Job) -> Response:
    """The whole file."""
    made = renderings.rendered(context, job, renderings.AUDIO)
    about = renderings.audio_of(job) or {}
    name = f"{results.safe_stem(results.source_name(job))}.{made.extension}"
    headers = results.headers_of(job) | {
        "X-Audio-Duration-S": str(about.get("duration_s", "")),
        "X-Audio-Sample-Rate-Hz": str(about.get("sample_rate_hz", "")),
        "Content-Disposition": results.disposition("inline", name),
    }
    return Response(made.content, headers=headers, media_type=made.media_type)
