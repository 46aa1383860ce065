"""POST /tts: a text in, speech out: as a file when it is done, or in pieces while it is being spoken."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.answers import renderings, results
from api.answers.accepted import accept_and_wait
from api.answers.documents import JobDocument
from api.answers.streaming import open_audio
from api.http.deps import Context
from api.http.prefer import Prefer
from api.http.problems import documented
from api.requests.incoming import Submission
from api.requests.schemas import body_of
from api.requests.tts import TtsRequest
from milo.audio.formats import MEDIA_TYPES
from milo.jobs import Job
from milo.kinds.kind import AUDIO

router = APIRouter(tags=["text to speech"])


@router.post(
    "/tts",
    summary="Speak a text",
    responses={
        200: {"description": "the audio", "content": {name: {} for name in sorted(set(MEDIA_TYPES.values()))}},
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

    return await accept_and_wait(
        incoming, "tts", asked, audio_answer, priority=asked.priority, begin=begin if asked.stream else None
    )


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
