"""Transcriptions: what may stand beside a recording, checked against the models of this server."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydantic import Field, model_validator

from api.http.deps import Context
from api.requests.errors import pointed
from api.requests.models import choose
from api.requests.sources import check_source
from milo.errors import Invalid
from milo.jobs import AudioSource
from milo.kinds.fields import BlobId, Delivery, Name, ServerPath
from milo.kinds.stt import SttInput, SttOptions, SttPayload
from milo.ledger.keys import Key
from milo.models import registry


class SttFields(SttOptions, Delivery):
    """What may stand beside the audio, in JSON and as form fields."""

    name: Name | None = None
    format: str | None = Field(None, pattern=r"^[A-Za-z0-9]{0,16}$")
    """A hint for people: the audio is recognised by its content."""
    sample_rate: float | None = Field(None, gt=0)
    """The same: the file says it better."""


class SttRequest(SttFields):
    """One recording: exactly one of `audio`, `blob` and `path`."""

    audio: str | None = None
    """Base64, or a `data:` URI."""
    blob: BlobId | None = None
    path: ServerPath | None = None

    @model_validator(mode="after")
    def _one_source(self) -> SttRequest:
        if sum(value is not None for value in (self.audio, self.blob, self.path)) != 1:
            raise ValueError("give exactly one of `audio`, `blob` and `path`")
        return self


@dataclass(frozen=True)
class SpeechModel:
    """A model name that was checked, and what it can do. No languages: the model is not here yet, or does not say."""

    name: str
    languages: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()


def check(context: Context, key: Key, asked: SttInput) -> SttPayload:
    """The payload of an `stt` job, everything in it checked."""
    source = check_source(context, key, asked.source)
    return payload_of(check_options(context, asked), source)


def payload_of(options: SttOptions, source: AudioSource) -> SttPayload:
    """The payload of a recording with options that have been checked."""
    return SttPayload.model_validate({**_options(options), "source": source})


def _options(options: SttOptions) -> dict[str, object]:
    return {name: getattr(options, name) for name in SttOptions.model_fields}


def check_options(context: Context, options: SttOptions) -> SttOptions:
    """The options with the model and the language that they come to. `Invalid` for what this server does not have."""
    model = choose_model(context, options.model)
    if options.task not in (model.tasks or ("transcribe", "translate")):
        detail = f"{model.name} can't {options.task}: it was trained to {' and '.join(model.tasks)}"
        way = ". Transcribe, and send the text to /api/v1/translate" if options.task == "translate" else ""
        raise pointed(detail + way, "task", "unknown_task")
    language = _language(model, options.language)
    return SttOptions.model_validate({**_options(options), "model": model.name, "language": language})


def choose_model(context: Context, asked: str | None) -> SpeechModel:
    """The speech-to-text model a request means. `Invalid` for one that is not here."""
    settings = context.settings
    default = settings.stt_model.strip()

    def describe(name: str) -> SpeechModel:
        info = registry.describe(registry.resolve(settings, name, here=name == default), settings)
        if info.use != "stt":
            raise Invalid(f"{name!r} is a {info.model_type} model, not one for speech to text", code="unknown_model")
        return SpeechModel(name, info.languages, info.tasks)

    return choose(context, "stt", asked, default, describe, SpeechModel(default))


def _language(model: SpeechModel, asked: str | None) -> str | None:
    code = (asked or "auto").strip().lower()
    if code == "auto":
        return None
    if model.languages and code not in model.languages:
        detail = f"{model.name} does not know the language {asked!r}; it knows {', '.join(model.languages)}"
        raise pointed(detail, "language", "unknown_language")
    if not re.fullmatch(r"[a-z]{2,3}", code):
        raise Invalid(f"{asked!r} is not an ISO 639 language code", code="unknown_language")
    return code
