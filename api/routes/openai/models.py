"""OpenAI's /v1/models: every name that a request may carry."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.http.deps import Context, Ctx, Reader, in_thread
from api.http.problems import documented_openai, json_response
from api.requests.aliases import PublicModel, default_of, no_model, public_models, use_of
from milo.kinds.kind import Document

router = APIRouter(tags=["as OpenAI"])


@router.get("/models", summary="List models, as OpenAI does", responses={**documented_openai()})
async def list_(context: Ctx, key: Reader) -> Response:
    """The models on this machine, and OpenAI's names that stand for the configured ones."""
    models = await in_thread(public_models, context)
    return json_response({"object": "list", "data": [_document(name, models[name]) for name in sorted(models)]})


@router.get("/models/{model:path}", summary="One model, as OpenAI does", responses={**documented_openai(404)})
async def retrieve(model: str, context: Ctx, key: Reader) -> Response:
    """Any of OpenAI's names for speech, transcription and chat is known."""
    return json_response(await in_thread(_retrieve, context, model))


def _retrieve(context: Context, name: str) -> Document:
    models = public_models(context)
    use = use_of(name)
    if name in models:
        return _document(name, models[name])
    if use is None:
        raise no_model(name)
    return _document(name, models[default_of(context.settings, use)])


def _document(name: str, model: PublicModel) -> Document:
    return {"id": name, "object": "model", "created": model.created_at, "owned_by": "milo", "use": model.use}
