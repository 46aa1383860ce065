"""Which model a request means, and what that model can do: checked before anything is queued, loaded by nobody."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from api.http.deps import Context
from milo.configured import FIELDS, require
from milo.errors import Invalid, MiloError, ModelUnavailable
from milo.kinds import ModelUse
from milo.models import registry
from milo.settings import Settings
from milo.synthesis.voices import EMBEDDED, Speech, describe_speech
from milo.translation import translate
from milo.translation.flores import ALL_CODES, known_languages

T = TypeVar("T")
MODEL_CACHE_S = 2.0


def choose(
    context: Context, what: str, asked: str | None, default: str, describe: Callable[[str], T], unseen: T | None = None
) -> T:
    """What `describe` says of the model asked for, remembered for a moment.

    `Invalid` for a model that is not here, or a path: clients name no folders of the server. The default one may be a
    hub id that the worker pulls: then it is `unseen` until it is here.
    """
    name = (asked or default).strip()
    key = f"{what}:{name}"
    at, remembered = context.notes.get(key, (0.0, None))
    if remembered is not None and 0 <= time.monotonic() - at < MODEL_CACHE_S:
        description: T = remembered
        return description
    if name != default and (name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name):
        raise unknown_model(context.settings, default, f"{name[:100]!r} is not the name of a model")
    if name == default and what in FIELDS:
        require(context.settings, what)
    try:
        description = describe(name)
    except MiloError as error:
        if name != default:
            raise unknown_model(context.settings, default, error.detail) from None
        pulled = isinstance(error, ModelUnavailable) and "/" in name and not Path(name).is_absolute()
        if unseen is not None and pulled:
            return unseen
        raise
    context.notes[key] = (time.monotonic(), description)
    return description


def choose_name(context: Context, use: ModelUse, asked: str | None) -> str:
    """The model that a request means, for a kind that has no checks of its own."""
    settings = context.settings
    default = str(getattr(settings, use.setting)).strip()

    def describe(name: str) -> str:
        info = registry.describe(registry.resolve(settings, name, here=name == default), settings)
        if info.use != use.name:
            raise Invalid(f"{name!r} is a {info.model_type} model, not one for {use.name}", code="unknown_model")
        return name

    return choose(context, use.name, asked, default, describe, default)


def unknown_model(settings: Settings, default: str, reason: str) -> Invalid:
    names = sorted({default, *(entry.name for entry in registry.list_models(settings))})
    detail = f"{reason.rstrip('.')}. Models here: {', '.join(names)}"
    return Invalid(detail, code="unknown_model", errors=[{"detail": detail, "pointer": "#/model"}])


def choose_speech(context: Context, asked: str | None) -> Speech:
    """The model that speaks. Its languages are unknown as long as it is not here."""
    default = context.settings.tts_model.strip()
    if asked == EMBEDDED:
        return describe_speech(context.settings, EMBEDDED)
    return choose(
        context,
        "tts",
        asked,
        default,
        lambda name: describe_speech(context.settings, name, name == default),
        Speech(asked or default),
    )


def choose_translator(context: Context, asked: str | None) -> tuple[str, dict[str, str]]:
    """The name of the model that translates, and its languages: short code -> FLORES code."""
    settings = context.settings
    default = settings.translate_model.strip()

    def describe(name: str) -> tuple[str, dict[str, str]]:
        resolved = registry.resolve(settings, name, here=name == default)
        info = registry.describe(resolved, settings)
        if info.use != "translate":
            raise Invalid(f"{name!r} is a {info.model_type} model, not one that translates", code="unknown_model")
        return name, translate.languages_of(resolved)

    return choose(context, "translate", asked, default, describe, (default, known_languages(ALL_CODES)))
