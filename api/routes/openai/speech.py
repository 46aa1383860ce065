"""OpenAI's /v1/audio/speech, as the `openai` package calls it."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field, field_validator

from api.answers.accepted import finished
from api.answers.streaming import Event, Events, Steps, audio_pieces, open_audio
from api.http import openai_errors
from api.http.deps import Context, in_thread
from api.http.problems import documented_openai
from api.requests.aliases import as_not_found, resolve_model
from api.requests.incoming import Submission, submit
from api.requests.models import choose_speech
from api.requests.schemas import body_of
from api.requests.tts import check_text_to_speak
from api.routes.tts import audio_answer
from milo.chat.message import guess_language
from milo.errors import Invalid, MiloError
from milo.kinds.fields import Closed, OptionalName, PrintableText, Text
from milo.kinds.tts import TtsInput, TtsPayload
from milo.synthesis.voices import Speech

router = APIRouter(prefix="/audio", tags=["as OpenAI"])

MAX_INPUT = 4096
PCM_HZ = 24_000
"""Raw samples carry no rate; OpenAI's have this one, and its clients play it so."""
WHOLE = ("wav", "flac")
"""Formats whose headers tell the length: sent when it is known, unless streaming is asked for."""
VOICES: dict[str, str] = {
    "alloy": "f1",
    "ash": "m2",
    "ballad": "m4",
    "coral": "f2",
    "echo": "m1",
    "fable": "m3",
    "nova": "f3",
    "onyx": "m7",
    "sage": "f4",
    "shimmer": "f5",
    "verse": "m5",
    "marin": "f2",
    "cedar": "m6",
}
"""OpenAI's voices as eSpeak NG's; another model's are dealt out in the same order."""


class VoiceId(BaseModel):
    id: Annotated[Text, Field(max_length=255)]


class SpeechRequest(Closed):
    """The body of /v1/audio/speech. `language` is Milo's own; nothing: that of the text's words."""

    model: Annotated[Text, Field(min_length=1, max_length=255)]
    input: PrintableText
    voice: Annotated[Text, Field(min_length=1, max_length=255)] | VoiceId
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    speed: float = Field(1.0, ge=0.25, le=4)
    stream_format: Literal["audio", "sse"] | None = None
    instructions: Text | None = None
    """As with tts-1, these have no effect."""
    language: OptionalName = None

    @field_validator("response_format", "speed", mode="before")
    @classmethod
    def _null_is_default(cls, value: Any, info: Any) -> Any:
        return {"response_format": "mp3", "speed": 1.0}[info.field_name] if value is None else value


@router.post(
    "/speech",
    summary="Speak, as OpenAI does",
    responses={200: {"description": "the audio, or its events"}, **documented_openai(400, 404, 408, 413)},
    openapi_extra=body_of(SpeechRequest),
)
async def speech(incoming: Submission) -> Response:
    """`tts-1` and `gpt-…-tts` mean the configured model, OpenAI's voices some of Milo's. Compressed audio and pcm are
    sent sentence by sentence; wav and flac when their length is known, unless `stream_format` is `audio`."""
    context = incoming.context
    asked = await incoming.read_json(SpeechRequest)
    job = await submit(incoming, "tts", partial(_speech_payload, context, asked))
    if asked.stream_format == "sse":
        steps = Steps(context, job.id)
        return Events(_speech_events(steps), steps, {"X-Milo-Job-Id": job.id})
    if job.payload["stream"]:
        begun = await open_audio(context, job, context.settings.max_wait_s, {})
        if isinstance(begun, Response):
            return begun
        job = begun
    job = await finished(context, incoming.request, job)
    return await in_thread(audio_answer, context, job)


def _speech_payload(context: Context, asked: SpeechRequest) -> TtsPayload:
    if len(asked.input) > MAX_INPUT:
        detail = f"input has {len(asked.input)} characters; at most {MAX_INPUT} are spoken at once"
        raise openai_errors.param_error(detail, "input", "string_above_max_length")
    model = resolve_model(context.settings, "tts", asked.model)
    try:
        speech = choose_speech(context, model)
        named = asked.voice.id if isinstance(asked.voice, VoiceId) else asked.voice
        guess = guess_language(asked.input)
        text = TtsInput(
            text=asked.input,
            model=model,
            voice=voice_of(speech, named),
            language=asked.language or (guess if guess in speech.languages else None),
            speed=asked.speed,
            format=asked.response_format,
            sample_rate=PCM_HZ if asked.response_format == "pcm" else None,
            stream=asked.stream_format is not None or asked.response_format not in WHOLE,
        )
        return check_text_to_speak(context, text, MAX_INPUT)
    except Invalid as error:
        for one in error.errors or ():
            one["pointer"] = {"#/text": "#/input", "#/format": "#/response_format"}.get(one["pointer"], one["pointer"])
        raise as_not_found(asked.model, error) from None


def voice_of(speech: Speech, name: str) -> str | None:
    """One of the model's own voices, or the one that stands for OpenAI's; None: its only one."""
    if name in speech.voices or name.lower() not in VOICES:
        return name
    meant = VOICES[name.lower()]
    if meant in speech.voices or not speech.voices:
        return meant if speech.voices else None
    return speech.voices[list(VOICES).index(name.lower()) % len(speech.voices)]


async def _speech_events(steps: Steps) -> AsyncIterator[Event]:
    try:
        async for piece in audio_pieces(steps):
            delta = {"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode()}
            yield openai_errors.event(delta, "speech.audio.delta")
    except MiloError as error:
        yield openai_errors.error_event(error)
    else:
        yield openai_errors.event({"type": "speech.audio.done"}, "speech.audio.done")
