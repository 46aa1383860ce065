"""Names of models as OpenAI's clients say them: `whisper-1`, `tts-1` and `gpt-*` stand for the configured models."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from api.http.deps import Context
from api.requests.chats import chat_model_name
from milo.errors import Invalid, MiloError, ModelUnavailable, NotFound
from milo.models import registry
from milo.settings import Settings

Use = Literal["stt", "tts", "chat"]
ALIASES: dict[Use, re.Pattern[str]] = {
    "stt": re.compile(r"whisper-1|gpt-[\w.-]*transcribe[\w.-]*"),
    "tts": re.compile(r"tts-1(-hd)?(-[\d-]+)?|gpt-[\w.-]*tts[\w.-]*"),
    "chat": re.compile(r"(gpt-|chatgpt-)[\w.:-]+"),
}
"""Names of OpenAI's models, which stand for the configured ones."""
LISTED_ALIASES: dict[str, Use] = {"whisper-1": "stt", "tts-1": "tts", "gpt-4o-mini": "chat"}
NOT_CHAT = re.compile(r"gpt-[\w.-]*(realtime|audio|image)[\w.-]*")


def public_name(name: str) -> str:
    """A model without its path on this server."""
    return Path(name).name if name.startswith(("/", ".", "~")) or name.count("/") > 1 else name


def use_of(name: str) -> Use | None:
    """What an alias stands for; None when it is none."""
    for use, names in ALIASES.items():
        if names.fullmatch(name):
            return None if use == "chat" and NOT_CHAT.fullmatch(name) else use
    return None


def default_of(settings: Settings, use: Use) -> str:
    """The public name of the model that is configured for a use."""
    if use == "chat":
        return chat_model_name(settings)
    return public_name((settings.stt_model if use == "stt" else settings.tts_model).strip())


def resolve_model(settings: Settings, use: Use, name: str) -> str | None:
    """The model to ask for in a payload; None: the configured one. `NotFound` (404, as OpenAI) for another's name."""
    name = name.strip()
    if use_of(name) == use or name == default_of(settings, use):
        return None
    if use == "chat" or use_of(name) is not None:
        raise no_model(name, f"; `{default_of(settings, use)}` is the one for this path")
    return name


def no_model(name: str, more: str = "") -> NotFound:
    detail = f"The model `{name[:100]}` does not exist or can't be used here{more}."
    error = NotFound(detail, code="model_not_found")
    error.errors = [{"detail": detail, "pointer": "#/model"}]
    return error


def as_not_found(name: str, error: Invalid) -> MiloError:
    """A model that Milo does not know is a 404 for OpenAI's clients."""
    return no_model(name, f": {error.detail}") if error.code == "unknown_model" else error


def known_models(context: Context) -> dict[str, tuple[Use, int]]:
    """Every name that a request may carry, with its use and the unix time of its weights (0: not known)."""
    settings = context.settings
    found: dict[str, tuple[Use, int]] = {"espeak": ("tts", 0)}
    for entry in registry.list_models(settings):
        try:
            resolved = registry.resolve(settings, entry.name)
            use = registry.describe(resolved, settings).use
        except (ModelUnavailable, Invalid):
            continue
        if use == "stt" or use == "tts":
            found[entry.name] = (use, int(resolved.path.stat().st_mtime))
    for use in ALIASES:
        found.setdefault(default_of(settings, use), (use, 0))
    return found | {name: (use, found[default_of(settings, use)][1]) for name, use in LISTED_ALIASES.items()}
