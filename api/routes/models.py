"""GET /models: what is on this machine, and what each can do."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from api.chats import chat_model_name, check_chat_model
from api.deps import Context, Ctx, Reader, in_thread
from api.problems import documented, json_response
from milo import models, translation
from milo.errors import MiloError
from milo.models import ResolvedModel
from milo.settings import Settings
from milo.voices import EMBEDDED, describe_speech

router = APIRouter(tags=["models"])

USES = {"whisper": "stt", "vits": "tts", "m2m_100": "translate", "gguf": "chat"}
"""What a model of a type is for."""


@router.get("/models", summary="Models on this machine", responses={**documented()})
async def list_(context: Ctx, key: Reader) -> Response:
    """`use` is what a model is for, `default` marks the one that a request without `model` gets. Not there yet:
    `available` is false and `problem` says why. Speech models tell their `voices`."""
    return json_response({"items": await in_thread(_models, context)})


def _models(context: Context) -> list[dict[str, Any]]:
    settings = context.settings
    entries = {entry.name: entry for entry in models.list_models(settings)}
    defaults = {settings.stt_model: "stt", settings.translate_model: "translate", settings.tts_model: "tts"}
    if settings.chat_model in entries:
        defaults[settings.chat_model] = "chat"
    found = []
    for name in sorted({*entries, *defaults, EMBEDDED}):
        entry = entries.get(name)
        one: dict[str, Any] = {
            "name": name,
            "current": entry.current if entry else None,
            "versions": list(entry.versions) if entry else [],
            "default": name in defaults,
        }
        found.append(one | {"use": defaults.get(name)} | _abilities(settings, name))
    return found if settings.chat_model in entries else [*found, _chat(settings)]


def _abilities(settings: Settings, name: str) -> dict[str, Any]:
    try:
        if name == EMBEDDED:
            return {"available": True, "label": name, "use": "tts", "type": "espeak-ng"} | _voices(settings, name)
        resolved = models.resolve(settings, name)
        info = models.describe(resolved, settings)
        more = _languages(settings, name, resolved, info.model_type)
    except MiloError as error:
        return {"available": False, "problem": error.detail}
    return {
        "available": True,
        "label": resolved.label,
        "use": USES.get(info.model_type),
        "type": info.model_type,
        "languages": list(info.languages),
        "tasks": list(info.tasks),
        "parameters": info.parameters,
        "dtype": info.dtype,
        "weights_bytes": info.weights_bytes,
    } | more


def _languages(settings: Settings, name: str, resolved: ResolvedModel, kind: str) -> dict[str, Any]:
    if kind == "vits":
        return _voices(settings, name)
    return {"languages": sorted(translation.languages_of(resolved))} if kind == "m2m_100" else {}


def _voices(settings: Settings, name: str) -> dict[str, Any]:
    speech = describe_speech(settings, name)
    return {"languages": list(speech.languages), "voices": list(speech.voices)}


def _chat(settings: Settings) -> dict[str, Any]:
    """The configured chat model, which is a file and not in the registry."""
    one: dict[str, Any] = {"name": chat_model_name(settings), "current": None, "versions": [], "default": True}
    try:
        check_chat_model(settings)
    except MiloError as error:
        return one | {"use": "chat", "available": False, "problem": error.detail}
    return one | {"use": "chat", "available": True, "label": one["name"], "type": "gguf"}
