"""POST /tts: a text in, speech out: as a file when it is done, or in pieces while it is being spoken."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from api.answers import renderings, results
from api.answers.accepted import accept_and_wait
from api.answers.documents import JobDocument
from api.answers.streaming import open_audio
from api.http import bodies
from api.http.deps import Context, Ctx, Writer, in_thread
from api.http.prefer import Prefer
from api.http.problems import documented, json_response
from api.requests.errors import pointing_at
from api.requests.incoming import Submission
from api.requests.models import choose_speech
from api.requests.schemas import body_of
from api.requests.tts import TtsRequest, spoken_language
from milo.audio.formats import MEDIA_TYPES
from milo.jobs import Job
from milo.kinds.fields import Closed, OptionalName, PrintableText
from milo.kinds.kind import AUDIO
from milo.language.sentences import split
from milo.synthesis.normalization import check_text, normalize

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


class SentencesRequest(Closed):
    text: PrintableText
    language: OptionalName = None
    model: OptionalName = None


class Sentence(BaseModel):
    text: str
    spoken: str
    """What a voice says for it: numbers, dates, amounts and signs in words. Empty: nothing of it can be said."""


class SentencesAnswer(BaseModel):
    language: str
    items: list[Sentence]


@router.post(
    "/tts/sentences",
    summary="The sentences of a text, as they would be spoken",
    responses={200: {"model": SentencesAnswer}, **documented(400, 408, 413, 415, 422)},
    openapi_extra=body_of(SentencesRequest),
)
async def sentences(request: Request, context: Ctx, key: Writer) -> Response:
    """What a page shows beside the text before anything is spoken. No model is asked, and no job is made."""
    asked = await bodies.read_json(request, SentencesRequest)
    return json_response((await in_thread(_sentences, context, asked)).model_dump())


def _sentences(context: Context, asked: SentencesRequest) -> SentencesAnswer:
    settings = context.settings
    pointing_at("text", check_text, asked.text, settings.tts_max_chars)
    language = spoken_language(choose_speech(context, asked.model), asked.language)
    texts = [part.text.strip() for part in split(asked.text)]
    items = [
        Sentence(text=text, spoken=normalize(text, language, settings.number_order).strip()) for text in texts if text
    ]
    return SentencesAnswer(language=language, items=items)


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
