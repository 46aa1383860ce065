"""From a request to a row: validate everything, then write, then wake a worker."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from starlette.requests import Request

from api.http import memory
from api.http.deps import Context
from api.requests.models import choose
from milo.errors import Forbidden, Invalid, NotFound
from milo.jobs import AudioSource, Job, NewJob, Priority, SttPayload
from milo.ledger.keys import Key
from milo.models import registry
from milo.queue import wakeups
from milo.queue.connection import ping_redis
from milo.settings import Settings
from milo.webhooks import targets

MAX_NAME = 255
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def _clean(value: str) -> str:
    if _UNPRINTABLE.search(value):
        raise ValueError("there are control characters in it")
    return value


def _empty_is_none(value: str | None) -> str | None:
    return value or None


Text = Annotated[str, AfterValidator(_clean)]
Name = Annotated[str, Field(max_length=MAX_NAME), AfterValidator(_clean)]
BlobId = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Closed(BaseModel):
    """A request body: a field it does not know is an error, not a silent nothing."""

    model_config = ConfigDict(extra="forbid")


class SttOptions(Closed):
    """How to transcribe."""

    language: Annotated[Annotated[Text, Field(max_length=32)] | None, AfterValidator(_empty_is_none)] = None
    """ISO 639-1; nothing or `auto`: detect it."""
    task: Literal["transcribe", "translate"] = "transcribe"
    prompt: Annotated[Text, Field(max_length=2000)] | None = None
    word_timestamps: bool = True
    beam_size: int = Field(1, ge=1, le=10)
    temperature: float | None = Field(None, ge=0, le=1)
    model: Annotated[Annotated[Text, Field(max_length=255)] | None, AfterValidator(_empty_is_none)] = None


class SttFields(SttOptions):
    """What may stand beside the audio, in JSON and as form fields."""

    name: Name | None = None
    format: str | None = Field(None, pattern=r"^[A-Za-z0-9]{0,16}$")
    """A hint for people: the audio is recognised by its content."""
    callback_url: Text | None = None
    priority: Literal["realtime", "interactive", "batch"] | None = None


class SttRequest(SttFields):
    """One recording: exactly one of `audio`, `blob` and `path`."""

    audio: str | None = None
    """Base64, or a `data:` URI."""
    blob: BlobId | None = None
    path: Annotated[Text, Field(min_length=1, max_length=4096)] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> SttRequest:
        if sum(value is not None for value in (self.audio, self.blob, self.path)) != 1:
            raise ValueError("give exactly one of `audio`, `blob` and `path`")
        return self


# --- models -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Choice:
    """A model name that was checked, and what it can do. No languages: the model is not here yet, or does not say."""

    name: str
    languages: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()


def choose_model(context: Context, asked: str | None) -> Choice:
    """The speech-to-text model a request means. `Invalid` for one that is not here."""
    settings = context.settings

    def describe(name: str) -> Choice:
        info = registry.describe(registry.resolve(settings, name), settings)
        if info.use != "stt":
            raise Invalid(f"{name!r} is a {info.model_type} model, not one for speech to text", code="unknown_model")
        return Choice(name, info.languages, info.tasks)

    default = settings.stt_model.strip()
    return choose(context, "stt", asked, default, describe, Choice(default))


def _language(choice: Choice, asked: str | None) -> str | None:
    code = (asked or "auto").strip().lower()
    if code == "auto":
        return None
    if choice.languages and code not in choice.languages:
        detail = f"{choice.name} does not know the language {asked!r}; it knows {', '.join(choice.languages)}"
        raise Invalid(detail, code="unknown_language", errors=[{"detail": detail, "pointer": "#/language"}])
    if not re.fullmatch(r"[a-z]{2,3}", code):
        raise Invalid(f"{asked!r} is not an ISO 639 language code", code="unknown_language")
    return code


def stt_payload(context: Context, options: SttOptions, source: AudioSource) -> dict[str, Any]:
    """The payload of an `stt` job, its model and language checked."""
    choice = choose_model(context, options.model)
    if options.task not in (choice.tasks or ("transcribe", "translate")):
        raise Invalid(f"{choice.name} can't {options.task}; it can {', '.join(choice.tasks)}", code="unknown_task")
    payload = SttPayload(
        source=source,
        model=choice.name,
        language=_language(choice, options.language),
        task=options.task,
        prompt=options.prompt,
        word_timestamps=options.word_timestamps,
        beam_size=options.beam_size,
        temperature=options.temperature,
    )
    return payload.model_dump()


# --- sources ----------------------------------------------------------------------------------------------------------


def check_source(context: Context, source: AudioSource) -> AudioSource:
    """The blob is stored, or the path is a file under an allowed root. Paths come back resolved."""
    if _UNPRINTABLE.search(source.name + (source.path or "")) or len(source.name) > MAX_NAME:
        raise Invalid(f"a name has at most {MAX_NAME} characters, and no control characters")
    if source.blob:
        if not context.files.has_blob(source.blob):
            raise Invalid(
                f"the blob {source.blob} is not stored here; send it to POST /api/v1/blobs", code="unknown_blob"
            )
        return source
    return source.model_copy(update={"path": check_path(context, source.path or "")})


def check_path(context: Context, path: str) -> str:
    """A regular file under an allowed root, resolved. `Forbidden` or `Invalid` otherwise."""
    try:
        real = context.files.allowed_path(path)
    except NotFound as error:
        raise Invalid(error.detail, code=error.code) from None
    except (ValueError, OSError) as error:
        raise Invalid(f"{path!r} can't be a path: {error}", code="unknown_path") from None
    if "://" not in real:
        try:
            mode = os.stat(real).st_mode
        except OSError as error:
            raise Invalid(f"{path!r} can't be read: {error.strerror}", code="unknown_path") from None
        if not stat.S_ISREG(mode):
            raise Invalid(f"{path!r} is not a file; POST /api/v1/batches takes folders", code="not_a_file")
        if not os.access(real, os.R_OK):
            raise Forbidden(f"the server may not read {path!r}", code="unreadable")
    return real


def file_name(given: str | None, fallback: str = "audio") -> str:
    """What an uploaded file is called: its last component, without what no file name has."""
    name = _UNPRINTABLE.sub("", (given or "").replace("\\", "/").rsplit("/", 1)[-1]).strip()
    return name.encode("utf-8", "replace").decode()[:MAX_NAME] or fallback


# --- idempotency and writing ------------------------------------------------------------------------------------------


def idempotency_key(request: Request) -> str | None:
    """The header, checked. `Invalid` when it can't be a key."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    key = key.strip().strip('"')
    if not 0 < len(key) <= 255 or not key.isascii() or not key.isprintable():
        raise Invalid("an Idempotency-Key has 1 to 255 printable ASCII characters", code="bad_idempotency_key")
    return key


def fingerprint(request: Request, content: Any) -> str:
    """Hash of method, path and content, where uploaded audio counts by its sha256 and not by how it was sent."""
    text = json.dumps([request.method, request.url.path.rstrip("/"), content], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def check_callback(settings: Settings, url: str | None) -> None:
    if url is not None:
        try:
            targets.check_url(settings, url)
        except Invalid as error:
            error.errors = [{"detail": error.detail, "pointer": "#/callback_url"}]
            raise


def new_job(
    request: Request,
    key: Key,
    kind: str,
    payload: dict[str, Any],
    callback_url: str | None,
    asked: Priority | None,
    default: Priority,
) -> NewJob:
    """The row to be, with the idempotency of the request. `default` is the priority where none was `asked` for."""
    repeat = idempotency_key(request)
    content = {"kind": kind, "payload": payload, "priority": asked, "callback_url": callback_url}
    return NewJob(
        kind=kind,
        payload=payload,
        owner=key.name,
        priority=asked or default,
        callback_url=callback_url,
        idempotency_key=repeat,
        fingerprint=fingerprint(request, content) if repeat else None,
    )


def submit(context: Context, new: NewJob) -> Job:
    """Write the row and wake a worker. Raises `Unavailable` within a second while Redis is away: nothing is written."""
    ping_redis(context.settings)
    job = context.ledger.create(new.model_copy(update={"max_attempts": context.settings.max_attempts}))
    if job.state == "queued":
        wakeups.in_background(wakeups.submit, job)
    return job


def publish_later(context: Context, batch_id: str) -> None:
    """Publish a large batch's wake-ups after the answer. Until then, and if it fails, the reconciler stands in."""

    def publish() -> None:
        after = -1
        while jobs := context.ledger.batch_jobs(batch_id, after):
            waiting: Sequence[Job] = [job for job in jobs if job.state == "queued"]
            if wakeups.submit_many(waiting) < len(waiting):
                return
            after = jobs[-1].batch_index or 0
        memory.give_back()

    context.background.submit(publish)
