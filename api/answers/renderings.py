"""The result of one job in a format: a transcript as subtitles, a text, the audio that was spoken, or JSON."""

from __future__ import annotations

import base64
from typing import Annotated

from fastapi import Query
from pydantic import ValidationError

from api.answers import transcripts
from api.http.deps import Context
from milo.audio.formats import AUDIO_FORMATS
from milo.audio.formats import MEDIA_TYPES as AUDIO_TYPES
from milo.cue_rules import CueRules, parse_rules
from milo.errors import Invalid, MiloError
from milo.jobs import Job
from milo.kinds import KINDS
from milo.kinds.kind import AUDIO, Document, Rendered
from milo.ledger.revisions import result_of
from milo.transcription.transcript import SUBTITLES, Transcript

Revision = Annotated[
    int | None,
    Query(ge=0, le=2**31 - 1, description="Of a transcript that was edited: which one; 0 is the machine's text"),
]
_CUES = "How subtitles are cut: `broadcast`, `social`, `plain`, and numbers such as `max_s=5`"
Cues = Annotated[str | None, Query(max_length=200, description=_CUES)]
"""The query parameter of every route that renders."""


def check_format(format: str, kind: str | None = None) -> str:
    """`Invalid` for a format nobody renders, or not of this kind of job."""
    formats = all_formats() if kind is None else formats_of(kind)
    if format not in formats:
        what = "format" if kind is None else f"format for a {kind} job:"
        detail = f"unknown {what} {format!r}; one of {', '.join(formats)}"
        raise Invalid(detail, code="unknown_format", errors=[{"detail": detail, "parameter": "format"}])
    return format


def all_formats() -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for kind in KINDS.values() for name in kind.results.formats))


def formats_of(kind: str) -> tuple[str, ...]:
    return KINDS[kind].results.formats


def default_format(kind: str) -> str:
    return KINDS[kind].results.default


def load(context: Context, job: Job, revision: int | None = None) -> Document:
    """The result document of a job that succeeded: of a transcript that people have edited, the newest revision or the
    one named. `NotFound` when it was cleaned away."""
    if revision is not None and job.kind != "stt":
        detail = f"a {job.kind} job has no revisions"
        raise Invalid(detail, code="no_revisions", errors=[{"detail": detail, "parameter": "revision"}])
    if revision or (revision is None and job.revision):
        return transcripts.journal(context).transcript(job, revision).model_dump()
    return result_of(context.files, job)


def transcript_of(context: Context, job: Job) -> Transcript:
    return Transcript.model_validate(load(context, job))


def audio_of(job: Job) -> Document | None:
    """`{format, sample_rate_hz, duration_s}` of the audio that the job made, if it made some."""
    where = KINDS[job.kind].results.audio
    about = where(job.result) if where and job.result and job.result_file else None
    return dict(about) if about else None


def cue_rules(context: Context, job: Job, asked: str | None = None) -> CueRules:
    """How subtitles of a job are cut: as asked now, as asked with the job, or as the server is set. `Invalid`."""
    return parse_rules(asked or job.payload.get("cues") or context.settings.cues)


def rendered(context: Context, job: Job, format: str, cues: str | None = None, revision: int | None = None) -> Rendered:
    """The result of a job that succeeded. `Invalid` for a format that it does not come in.

    `cues`: how its subtitles are cut, if not as its job says. `revision`: of a transcript, if not the newest.
    """
    check_format(format, job.kind)
    results = KINDS[job.kind].results
    if results.audio and (format == AUDIO or format in AUDIO_FORMATS):
        return _audio(context, job, format)
    try:
        if results.subtitles and format in SUBTITLES:
            return results.subtitles(load(context, job, revision), format, cue_rules(context, job, cues))
        return results.render(load(context, job, revision), format)
    except ValidationError as error:
        raise MiloError(f"the stored result of {job.id} can't be read: {error.error_count()} errors") from error


def _audio(context: Context, job: Job, format: str) -> Rendered:
    about = audio_of(job)
    if about is None:
        raise Invalid(f"the {job.kind} job {job.id} made no audio", code="no_audio")
    stored = str(about["format"])
    if format not in (AUDIO, stored):
        raise Invalid(f"the audio of {job.id} is {stored}, not {format}; submit the text again", code="unknown_format")
    return Rendered(context.files.read_result(job.result_file or ""), AUDIO_TYPES[stored], stored)


def audio_base64(context: Context, job: Job) -> str:
    """The audio that the job made, for a JSON answer."""
    return base64.b64encode(context.files.read_result(job.result_file or "")).decode()
