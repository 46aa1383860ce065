"""GET /models: what is on this machine, and what each can do."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from api.deps import Context, Ctx, Reader, in_thread
from api.problems import documented, json_response
from milo import models
from milo.errors import MiloError

router = APIRouter(tags=["models"])


@router.get("/models", summary="Models on this machine", responses={**documented()})
async def list_(context: Ctx, key: Reader) -> Response:
    """`default` marks the one that a request without `model` gets. Not there yet: `available` is false and `problem`
    says why."""
    return json_response({"items": await in_thread(_models, context)})


def _models(context: Context) -> list[dict[str, Any]]:
    default = context.settings.stt_model
    entries = {entry.name: entry for entry in models.list_models(context.settings)}
    names = sorted({*entries, default})
    found = []
    for name in names:
        entry = entries.get(name)
        one: dict[str, Any] = {
            "name": name,
            "current": entry.current if entry else None,
            "versions": list(entry.versions) if entry else [],
            "default": name == default,
        }
        found.append(one | _abilities(context, name))
    return found


def _abilities(context: Context, name: str) -> dict[str, Any]:
    try:
        resolved = models.resolve(context.settings, name)
        info = models.describe(resolved, context.settings)
    except MiloError as error:
        return {"available": False, "problem": error.detail}
    return {
        "available": True,
        "label": resolved.label,
        "type": info.model_type,
        "languages": list(info.languages),
        "tasks": list(info.tasks),
        "parameters": info.parameters,
        "dtype": info.dtype,
        "weights_bytes": info.weights_bytes,
    }
