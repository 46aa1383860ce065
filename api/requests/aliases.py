"""Names of models as OpenAI's clients say them: `whisper-1`, `tts-1` and `gpt-*` stand for the configured models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from api.http.deps import Context
from api.requests.chat import chat_model_name
from milo.errors import Invalid, MiloError, ModelUnavailable, NotFound
from milo.kinds import ModelUse, model_uses
from milo.models import registry
from milo.settings import Settings


def public_name(name: str) -> str:
    """A model without its path on this server."""
    return Path(name).name if name.startswith(("/", ".", "~")) or name.count("/") > 1 else name


def use_of(name: str) -> ModelUse | None:
    """What an alias stands for; None when it is none."""
    return next((use for use in _aliased() if use.aliases and use.aliases.fullmatch(name)), None)


def _aliased() -> list[ModelUse]:
    """Uses whose models OpenAI's clients may name."""
    return [use for use in model_uses().values() if use.aliases]


def default_of(settings: Settings, use: ModelUse) -> str:
    """The public name of the model that is configured for a use."""
    if use.configured_only:
        return chat_model_name(settings)
    return public_name(str(getattr(settings, use.setting)).strip())


def resolve_model(settings: Settings, use_name: str, name: str) -> str | None:
    """The model to ask for in a payload; None: the configured one. `NotFound` (404, as OpenAI) for another's name."""
    name, use = name.strip(), model_uses()[use_name]
    if use_of(name) == use or name == default_of(settings, use):
        return None
    if use.configured_only or use_of(name) is not None:
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


@dataclass(frozen=True)
class PublicModel:
    """A name that a request may carry."""

    use: str
    created_at: int = 0
    """Unix time of the weights; 0: not known."""


def public_models(context: Context) -> dict[str, PublicModel]:
    """Every name that a request may carry."""
    settings, uses = context.settings, _aliased()
    chosen = {use.name for use in uses if not use.configured_only}
    models = {"espeak": PublicModel("tts")}
    for entry in registry.list_models(settings):
        try:
            resolved = registry.resolve(settings, entry.name)
            use_name = registry.describe(resolved, settings).use
        except (ModelUnavailable, Invalid):
            continue
        if use_name in chosen:
            models[entry.name] = PublicModel(str(use_name), int(resolved.path.stat().st_mtime))
    for use in uses:
        models.setdefault(default_of(settings, use), PublicModel(use.name))
    listed = [(use, use.listed_alias) for use in uses if use.listed_alias]
    return models | {name: PublicModel(use.name, models[default_of(settings, use)].created_at) for use, name in listed}
