"""Models: what is on this machine and what each can do; deploy and roll back."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter, Response

from api.answers.accepted import accept
from api.answers.documents import JobDocument
from api.http.deps import Admin, Context, Ctx, Reader, in_thread
from api.http.problems import documented, json_response
from api.requests.chat import chat_model_name, check_chat_model
from api.requests.deploy import DeployRequest, payload_of, roll_back
from api.requests.incoming import AdminSubmission
from api.requests.schemas import body_of
from milo.errors import MiloError
from milo.models import registry
from milo.models.engines import Use
from milo.models.registry import ResolvedModel
from milo.settings import Settings
from milo.synthesis.voices import EMBEDDED, describe_speech
from milo.translation import translate

router = APIRouter(tags=["models"])


@router.get("/models", summary="Models on this machine", responses={**documented()})
async def list_(context: Ctx, key: Reader) -> Response:
    """`use` is what a model is for, `default` marks the one that a request without `model` gets. Not there yet:
    `available` is false and `problem` says why. Speech models tell their `voices`."""
    return json_response({"items": await in_thread(_models, context)})


@router.post(
    "/models/{name:path}/deploy",
    summary="Deploy a checkpoint",
    status_code=202,
    responses={202: {"model": JobDocument}, **documented(400, 404, 408, 409, 413, 415, 422)},
    openapi_extra=body_of(DeployRequest),
)
async def deploy(name: str, incoming: AdminSubmission) -> Response:
    """A job: the checkpoint is compared with what serves under this name, tried out, copied, pointed at and asked.
    Gates that are closed fail it with the code `deploy_refused`. The next job of the queue uses what was deployed."""
    asked = await incoming.read_json(DeployRequest)
    return await accept(incoming, "deploy", asked, partial(payload_of, incoming.context, incoming.key, name, asked))


@router.post("/models/{name:path}/rollback", summary="Roll back", responses={**documented(404, 409, 422)})
async def rollback(name: str, context: Ctx, key: Admin) -> Response:
    """Serve the version before the current one again, from the next job on: `{name, version, before}`."""
    return json_response((await in_thread(roll_back, context, name)).model_dump())


def _models(context: Context) -> list[dict[str, Any]]:
    settings = context.settings
    entries = {entry.name: entry for entry in registry.list_models(settings)}
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
        resolved = registry.resolve(settings, name)
        info = registry.describe(resolved, settings)
        more = _languages(settings, name, resolved, info.use)
    except MiloError as error:
        return {"available": False, "problem": error.detail}
    return {
        "available": True,
        "label": resolved.label,
        "use": info.use,
        "type": info.model_type,
        "languages": list(info.languages),
        "tasks": list(info.tasks),
        "parameters": info.parameters,
        "dtype": info.dtype,
        "weights_bytes": info.weights_bytes,
    } | more


def _languages(settings: Settings, name: str, resolved: ResolvedModel, use: Use | None) -> dict[str, Any]:
    if use == "tts":
        return _voices(settings, name)
    return {"languages": sorted(translate.languages_of(resolved))} if use == "translate" else {}


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
