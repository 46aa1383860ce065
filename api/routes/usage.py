"""How much of its quotas a key has used; for administrators, of every key."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from api.http.deps import Admin, Context, Ctx, Reader, in_thread
from api.http.problems import documented, json_response
from milo.ledger.usage import known_owners
from milo.usage import usage_of

router = APIRouter(tags=["keys"])


@router.get("/usage", summary="How much of its quotas this key has used", responses={**documented()})
async def mine(context: Ctx, key: Reader) -> Response:
    """`limit` is null where there is none. What goes over one is answered 429 (`quota_exceeded`)."""
    return json_response(await in_thread(_document, context, key.name))


@router.get("/keys/usage", summary="The same of every key", responses={**documented()})
async def all_keys(context: Ctx, key: Admin) -> Response:
    """By the names of keys: keys of one name share their quotas."""
    return json_response({"items": await in_thread(_documents, context)})


def _documents(context: Context) -> list[dict[str, Any]]:
    return [_document(context, owner) for owner in known_owners(context.ledger.engine)]


def _document(context: Context, owner: str) -> dict[str, Any]:
    found = usage_of(context.settings, context.ledger.engine, context.files, owner)
    return {"key": owner, "quotas": [one.document() for one in found]}
