"""POST /tts: a text in, speech out: as a file when it is done, or in pieces while it is being spoken."""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import BaseModel

from api.answers import renderings, results
from api.answers.accepted import accept_and_wait
from api.answers.documents import JobDocument
from api.answers.streaming import open_audio
from api.http.deps import Context
from api.http.prefer import Prefer
from api.http.problems import documented, json_response
from api.requests.incoming import Submission
from api.requests.schemas import body_of
from api.requests.tts import TtsRequest
from milo.audio.formats import MEDIA_TYPES
from milo.jobs import Job
from milo.kinds.kind import AUDIO

router = APIRouter(tags=["text to speech"])


class TtsAnswer(BaseModel):
    """`audio`: a wav file in base64."""

    audio: str
    format: str
    sample_rate: int
    duration_s: float
    processing_ms: float
    job_id: str


@router.post(
    "/tts",
    summary="Speak a text",
    responses={
        200: {
            "model": TtsAnswer,
            "description": "the audio; a JSON document for the formats `json` and `base64`",
            "content": {name: {} for name in sorted(set(MEDIA_TYPES.values()))},
        },
        202: {"model": JobDocument, "description": "accepted; Location says where to look"},
        **documented(400, 408, 409, 413, 415, 422),
    },
    openapi_extra=body_of(TtsRequest),
)
async def speak(incoming: Submission) -> Response:
    """Answers with the audio in the format asked for, `X-Milo-Job-Id` and `X-Audio-Duration-S`. With `stream`, each
    sentence is sent as soon as it is spoken, and the job is cancelled when the client goes away. `Prefer` and
    `callback_url` as everywhere."""
    asked = await incoming.read_json(TtsRequest)

    async def begin(job: Job, preferred: Prefer) -> Response | Job:
        return await open_audio(incoming.context, job, preferred.wait_s, preferred.headers)

    streamed = asked.stream and not asked.in_json
    render = json_answer if asked.in_json else audio_answer
    return await accept_and_wait(
        incoming, "tts", asked, render, priority=asked.priority, begin=begin if streamed else None
    )


def json_answer(context: Context, job: Job) -> Response:
    """The whole file inside a JSON document."""
    about = renderings.audio_of(job) or {}
    document = TtsAnswer(
        audio=renderings.audio_base64(context, job),
        format=about["format"],
        sample_rate=about["sample_rate_hz"],
        duration_s=about["duration_s"],
        processing_ms=results.took_ms(job),
        job_id=job.id,
    )
    return json_response(document.model_dump(), headers=results.headers_of(job))


def audio_answer(context: Context, job: Job) -> Response:
    """The whole file."""
    audio = renderings.rendered(context, job, AUDIO)
    about = renderings.audio_of(job) or {}
    name = f"{results.safe_stem(results.source_name(job))}.{audio.extension}"
    headers = results.headers_of(job) | {
        "X-Audio-Duration-S": str(about.get("duration_s", "")),
        "X-Audio-Sample-Rate-Hz": str(about.get("sample_rate_hz", "")),
        "Content-Disposition": results.disposition("inline", name),
    }
    return Response(audio.content, headers=headers, media_type=audio.media_type)
