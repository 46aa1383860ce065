"""The answer of a chat message that succeeded."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from api.answers import renderings
from api.answers.results import headers_of, took_ms
from api.http.deps import Context
from milo.jobs import Job
from milo.kinds.kind import Document


def reply_of(context: Context, job: Job, with_audio: bool = True) -> Document:
    """The answer document of a job that succeeded."""
    result = dict(renderings.load(context, job))
    audio = renderings.audio_of(job)
    document = {
        "reply": result.get("reply", ""),
        "mode": result.get("mode"),
        "session_id": result.get("session_id") or job.payload.get("session_id"),
        "language": result.get("language"),
        "processing_ms": took_ms(job),
        "job_id": job.id,
        "finish_reason": result.get("finish_reason"),
        "usage": result.get("usage"),
        "dropped_messages": result.get("dropped_messages", 0),
    }
    if audio and with_audio:
        document["audio"] = renderings.audio_base64(context, job)
    if audio:
        document |= {f"audio_{name}": audio.get(name) for name in ("format", "sample_rate_hz", "duration_s")}
    return document


def chat_answer(context: Context, job: Job) -> Response:
    """The answer of a blocking POST /chat."""
    return JSONResponse(reply_of(context, job), headers=headers_of(job))
