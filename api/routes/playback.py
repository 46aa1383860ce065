"""The recording of a transcription for a browser: its waveform, and its audio by HTTP ranges.

Both are made by the CPU worker when they are first asked for, and kept with the results of the job.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import AbstractContextManager
from typing import IO, Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from api.answers import events as waiting
from api.answers.documents import JobDocument, job_url, job_with_queue
from api.answers.results import disposition, safe_stem, source_name, unfinished
from api.http import links
from api.http.deps import Context, Ctx, Reader, in_thread
from api.http.problems import documented, json_response
from api.http.ranges import ranged
from api.requests.writing import write_job
from api.routes.jobs import find
from milo.jobs import AudioSource, Job, NewJob, iso
from milo.kinds.playback import PlaybackPayload
from milo.kinds.stt import SttPayload
from milo.storage.playback import Playback, PlaybackFiles

router = APIRouter(tags=["transcripts"])

EXTENSIONS = {"audio/wav": "wav", "audio/mpeg": "mp3", "audio/flac": "flac", "audio/ogg": "ogg", "audio/mp4": "m4a"}
Wait = Annotated[
    float, Query(ge=0, allow_inf_nan=False, description="Seconds to wait for it, if it must be made first")
]
BEING_MADE: dict[int | str, dict[str, Any]] = {
    202: {"model": JobDocument, "description": "it is being made: the job that does it; ask again when that has ended"}
}
PART_BYTES = 4 * 1024 * 1024
"""The largest part that one request by a link gets: what a revoked key can still have of it."""
LinkField = Annotated[
    str | None, Query(max_length=200, description="Part of a link of `…/audio/link`, instead of a key")
]
BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}


@router.get(
    "/jobs/{job_id}/audio/peaks",
    summary="Its waveform",
    responses={
        200: {"description": "audiowaveform's data format", "content": {"application/octet-stream": BINARY}},
        **BEING_MADE,
        **documented(404, 415, 422),
    },
)
async def peaks(job_id: str, request: Request, context: Ctx, key: Reader, wait: Wait = 0) -> Response:
    """Lowest and highest sample of each 20 ms (of more in a recording over four hours), as signed bytes behind a head
    of 24: at most 1.5 MB. The format is version 2 of BBC audiowaveform's."""
    job = await find(context, key, job_id, "stt")
    made = await _made(context, request, job, wait)
    if isinstance(made, Response):
        return made
    content = await in_thread(PlaybackFiles(context.files, job.id).peaks)
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers={"ETag": etag})
    return Response(content, headers={"ETag": etag}, media_type="application/octet-stream")


@router.get(
    "/jobs/{job_id}/audio",
    summary="Its recording",
    responses={
        200: {"description": "the whole recording", "content": {"audio/*": BINARY}},
        206: {"description": "the range that was asked for", "content": {"audio/*": BINARY}},
        416: {"description": "the range lies beyond the end"},
        **BEING_MADE,
        **documented(403, 404, 415, 422),
    },
)
async def audio(
    job_id: str,
    request: Request,
    context: Ctx,
    key: Reader,
    wait: Wait = 0,
    key_id: LinkField = None,
    expires: LinkField = None,
    signature: LinkField = None,
) -> Response:
    """By HTTP ranges. The original where browsers play it and its times are those of the transcript, else an MP3."""
    job = await find(context, key, job_id, "stt")
    made = await _made(context, request, job, wait)
    if isinstance(made, Response):
        return made
    source = SttPayload.model_validate(job.payload).source
    opened: AbstractContextManager[IO[bytes]]
    if made.transcoded:
        opened, etag = PlaybackFiles(context.files, job.id).open_audio(), f'"{job.id}-mp3"'
    else:
        opened, etag = context.files.open_audio(source), await in_thread(_etag, context, source)
    name = f"{safe_stem(source_name(job))}.{EXTENSIONS[made.media_type]}"
    headers = {"Content-Disposition": disposition("inline", name)}
    largest = PART_BYTES if "milo.link" in request.scope else None
    return await ranged(request, opened, media_type=made.media_type, etag=etag, headers=headers, largest_part=largest)


class LinkDocument(BaseModel):
    """A link that plays one recording."""

    url: str
    expires_at: str
    media_type: str
    duration_s: float


@router.get(
    "/jobs/{job_id}/audio/link",
    summary="A link to its recording",
    responses={200: {"model": LinkDocument}, **BEING_MADE, **documented(404, 415, 422)},
)
async def link(job_id: str, request: Request, context: Ctx, key: Reader, wait: Wait = 0) -> Response:
    """For `<audio>`, which can send no key: good for this recording alone, for 15 minutes, and as long as the key is.
    One request by it gets 4 MB at most of the range it asks for."""
    job = await find(context, key, job_id, "stt")
    made = await _made(context, request, job, wait)
    if isinstance(made, Response):
        return made
    new = links.new_link(f"{job_url(job.id)}/audio", key.id)
    document = LinkDocument(
        url=await in_thread(new.url, context.settings),
        expires_at=iso(new.expires) or "",
        media_type=made.media_type,
        duration_s=made.duration_s,
    )
    return json_response(document.model_dump())


def _etag(context: Context, source: AudioSource) -> str:
    """Of a blob its hash; of a file on the server, which may be replaced, its size and time."""
    if source.blob:
        return f'"{source.blob}"'
    with context.files.open_audio(source) as file:
        try:
            about = os.fstat(file.fileno())
            state = f"{source.path}:{about.st_size}:{about.st_mtime_ns}"
        except OSError:  # a store far away
            state = f"{source.path}:{file.seek(0, 2)}"
    return f'"{hashlib.sha256(state.encode()).hexdigest()[:32]}"'


async def _made(context: Context, request: Request, job: Job, wait_s: float) -> Playback | Response:
    """What there is to play; else the answer that says by whom it is being made, or why it can't be."""
    about = await in_thread(PlaybackFiles(context.files, job.id).about)
    if about is not None:
        return about
    maker = await in_thread(_make, context, job)
    if wait_s and not maker.final:
        maker = await waiting.wait_for_job(context, request, maker.id, min(wait_s, context.settings.max_wait_s))
    if maker.state == "succeeded":
        return Playback.model_validate(maker.result)
    if maker.final:
        return unfinished(maker) or Response(status_code=500)
    headers = {"Location": job_url(maker.id), "Retry-After": "1"}
    return json_response(await in_thread(job_with_queue, context, maker), 202, headers)


def _make(context: Context, job: Job) -> Job:
    """The job that makes it, one for all who ask."""
    payload = PlaybackPayload(job_id=job.id, source=SttPayload.model_validate(job.payload).source)
    key = f"milo-playback-{job.id}"
    return write_job(
        context,
        NewJob(
            kind="playback",
            payload=payload.model_dump(mode="json"),
            owner=job.owner,
            priority="interactive",
            idempotency_key=key,
            fingerprint=key,
        ),
    )
