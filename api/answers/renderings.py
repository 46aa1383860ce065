"""The result of one job in a format: a transcript as subtitles, a text, the audio that was spoken, or JSON."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from api.http.deps import Context
from milo.audio.formats import AUDIO_FORMATS
from milo.audio.formats import MEDIA_TYPES as AUDIO_TYPES
from milo.errors import Invalid, MiloError
from milo.jobs import Job
from milo.transcription import transcript
from milo.transcription.transcript import Transcript, render

AUDIO = "audio"
"""The audio as it was made, whatever its format."""
KIND_FORMATS: dict[str, tuple[str, ...]] = {
    "stt": transcript.FORMATS,
    "tts": (AUDIO, "json", *AUDIO_FORMATS),
    "translate": ("json", "txt"),
    "chat": ("json", "txt", AUDIO, *AUDIO_FORMATS),
    "converse": ("json", "txt", AUDIO, *AUDIO_FORMATS),
}
"""What the result of each kind comes as; the first is the default, but for transcripts. Others have `json` alone."""
ALL_FORMATS = tuple(dict.fromkeys(name for names in KIND_FORMATS.values() for name in names))
ZIPPED: dict[str, tuple[str, ...]] = {"stt": ("srt", "txt"), "tts": (AUDIO,), "translate": ("txt",)}
"""What a batch's zip holds when nothing is said."""
EXTENSIONS = {"verbose_json": "verbose.json"}


@dataclass(frozen=True)
class Rendered:
    """A result as a document. `extension` is that of a file with it, without the dot."""

    content: str | bytes
    media_type: str
    extension: str

    @property
    def is_json(self) -> bool:
        return self.media_type == "application/json"


def check_format(format: str, kind: str | None = None) -> str:
    """`Invalid` for a format nobody renders, or not of this kind of job."""
    known = ALL_FORMATS if kind is None else formats_of(kind)
    if format not in known:
        what = "format" if kind is None else f"format for a {kind} job:"
        detail = f"unknown {what} {format!r}; one of {', '.join(known)}"
        raise Invalid(detail, code="unknown_format", errors=[{"detail": detail, "parameter": "format"}])
    return format


def formats_of(kind: str) -> tuple[str, ...]:
    return KIND_FORMATS.get(kind, ("json",))


def default_format(kind: str) -> str:
    return "json" if kind == "stt" else formats_of(kind)[0]


def load(context: Context, job: Job) -> dict[str, Any]:
    """The result document of a job that succeeded. `NotFound` when it was cleaned away."""
    if job.result is None and job.result_file:
        loaded: dict[str, Any] = json.loads(context.files.read_result(job.result_file))
        return loaded
    return job.result or {}


def transcript_of(context: Context, job: Job) -> Transcript:
    return Transcript.model_validate(load(context, job))


def audio_of(job: Job) -> dict[str, Any] | None:
    """`{format, sample_rate_hz, duration_s}` of the audio that the job made, if it made some."""
    about = (job.result or {}).get("audio") if job.kind in ("chat", "converse") else job.result
    made = job.kind in ("tts", "chat", "converse") and about and job.result_file
    return dict(about) if made and about else None


def rendered(context: Context, job: Job, format: str) -> Rendered:
    """The result of a job that succeeded. `Invalid` for a format that it does not come in."""
    check_format(format, job.kind)
    if format == AUDIO or format in AUDIO_FORMATS:
        return _audio(context, job, format)
    if job.kind == "stt":
        try:
            text = render(transcript_of(context, job), format)
        except ValidationError as error:
            raise MiloError(f"the stored result of {job.id} can't be read: {error.error_count()} errors") from error
        return Rendered(text, transcript.MEDIA_TYPES[format], EXTENSIONS.get(format, format))
    document = load(context, job)
    if format == "txt":
        return Rendered(_text(document), transcript.MEDIA_TYPES["txt"], "txt")
    return Rendered(json.dumps(document, ensure_ascii=False), "application/json", "json")


def _text(document: dict[str, Any]) -> str:
    if "translations" in document:
        return "".join(f"{one['text']}\n" for one in document["translations"])
    return f"{document.get('reply', '')}\n"


def _audio(context: Context, job: Job, format: str) -> Rendered:
    about = audio_of(job)
    if about is None:
        raise Invalid(f"the {job.kind} job {job.id} made no audio", code="no_audio")
    made = str(about["format"])
    if format not in (AUDIO, made):
        raise Invalid(f"the audio of {job.id} is {made}, not {format}; submit the text again", code="unknown_format")
    return Rendered(context.files.read_result(job.result_file or ""), AUDIO_TYPES[made], made)


def audio_base64(context: Context, job: Job) -> str:
    """The audio that the job made, for a JSON answer."""
    return base64.b64encode(context.files.read_result(job.result_file or "")).decode()
