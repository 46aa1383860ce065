"""POST /chat: a message in, the reply out: as a document, with its speech, or word by word."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel
from sse_starlette import ServerSentEvent

from api.answers.accepted import accept_and_wait
from api.answers.documents import JobDocument, job_url
from api.answers.replies import chat_answer, reply_of
from api.answers.results import unfinished
from api.answers.streaming import LOST, Events, Steps, failure
from api.http.deps import Context, in_thread
from api.http.prefer import Prefer
from api.http.problems import documented
from api.requests.chat import ChatRequest
from api.requests.incoming import Submission
from api.requests.schemas import body_of
from milo.audio.formats import wav_header
from milo.jobs import Job
from milo.queue.streams import JobEvent

router = APIRouter(tags=["chat"])


class ChatAnswer(BaseModel):
    """`mode` says who answered. `audio` (base64 wav) is there in voice mode."""

    reply: str
    mode: str
    session_id: str | None
    language: str | None
    processing_ms: float
    job_id: str
    finish_reason: str | None
    usage: dict[str, int] | None
    dropped_messages: int = 0
    """The oldest of the session, which the model had no room for."""
    audio: str | None = None
    audio_format: str | None = None
    audio_sample_rate_hz: int | None = None
    audio_duration_s: float | None = None


@router.post(
    "/chat",
    summary="Send a message",
    responses={
        200: {"model": ChatAnswer, "description": "the reply; with `stream`, server-sent events"},
        202: {"model": JobDocument, "description": "accepted; Location says where to look"},
        **documented(400, 404, 408, 409, 413, 415, 422),
    },
    openapi_extra=body_of(ChatRequest),
)
async def chat(incoming: Submission) -> Response:
    """A message of a session, answered in the order in which they arrive. With `stream` (or `Accept:
    text/event-stream`) the events are `start` {job_id, session_id}, `mode`, `delta` {text}, `audio` {audio: base64
    wav} for each sentence in voice mode, and `end` with the whole answer or `error` with the problem; `restart` says
    that the deltas so far are void. When the client of a stream goes away, the job is cancelled."""
    asked = await incoming.read_json(ChatRequest)
    wants_events = "text/event-stream" in incoming.request.headers.get("accept", "").lower()
    waits = incoming.prefer(asked.callback_url).wait_s > 0
    asked.stream = (wants_events if asked.stream is None else asked.stream) and waits

    async def begin(job: Job, preferred: Prefer) -> Response:
        return await _stream_reply(incoming.context, job)

    return await accept_and_wait(
        incoming, "chat", asked, chat_answer, priority=asked.priority, begin=begin if asked.stream else None
    )


async def _stream_reply(context: Context, job: Job) -> Response:
    """Events; the job's problem, if it fails before the first word."""
    steps = Steps(context, job.id)
    async with steps.kept():
        first = await steps.peek()
        if isinstance(first, Job) and (problem := unfinished(first)):
            await steps.leave()
            return problem
        return Events(_events(context, job, steps), steps, {"X-Milo-Job-Id": job.id})


async def _events(context: Context, job: Job, steps: Steps) -> AsyncIterator[ServerSentEvent]:
    yield _event("start", {"job_id": job.id, "session_id": job.payload.get("session_id")}, "0")
    async for item in steps:
        if isinstance(item, Job):
            yield await in_thread(_last, context, item)
        elif item.event == "start":
            yield _event("restart", {}, item.id)
        elif item.event == "audio":
            yield _event("audio", _audio(item), item.id)
        elif item.event != LOST:
            yield _event(item.event, item.data, item.id)


def _last(context: Context, job: Job) -> ServerSentEvent:
    if job.state == "succeeded":
        return _event("end", reply_of(context, job, with_audio=False), str(job.version))
    return _event("error", failure(job).problem(job_url(job.id)), str(job.version))


def _audio(event: JobEvent) -> dict[str, Any]:
    wav = wav_header(len(event.blob), int(event.data["sample_rate_hz"])) + event.blob
    return event.data | {"audio": base64.b64encode(wav).decode()}


def _event(name: str, data: dict[str, Any], number: str) -> ServerSentEvent:
    return ServerSentEvent(json.dumps(data, ensure_ascii=False), event=name, id=number)
