"""OpenAI's /v1/models: every name that a request may carry."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from api.http.deps import Context, Ctx, Reader, in_thread
from api.http.problems import documented_openai, json_response
from api.requests.aliases import Use, default_of, known_models, no_model, use_of

router = APIRouter(tags=["as OpenAI"])


@router.get("/models", summary="List models, as OpenAI does", responses={**documented_openai()})
async def list_(context: Ctx, key: Reader) -> Response:
    """The models on this machine, and OpenAI's names that stand for the configured ones."""
    known = await in_thread(known_models, context)
    return json_response({"object": "list", "data": [_document(name, *known[name]) for name in sorted(known)]})


@router.get("/models/{model:path}", summary="One model, as OpenAI does", responses={**documented_openai(404)})
async def retrieve(model: str, context: Ctx, key: Reader) -> Response:
    """Any of OpenAI's names for speech, transcription and chat is known."""
    return json_response(await in_thread(_retrieve, context, model))


def _retrieve(context: Context, name: str) -> dict[str, Any]:
    known = known_models(context)
    use = use_of(name)
    if name not in known and use is None:
        raise no_model(name)
    return _document(name, *(known.get(name) or known[default_of(context.settings, use or "chat")]))


def _document(name: str, use: Use, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": "milo", "use": use}
