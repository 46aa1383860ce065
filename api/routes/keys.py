"""API keys over HTTP: who am I, and for administrators: list, make, revoke."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from api.http import bodies
from api.http.deps import Admin, Ctx, Reader, in_thread
from api.http.problems import documented, json_response
from api.requests.schemas import body_of
from milo.kinds.fields import Closed
from milo.ledger.keys import Scope
from milo.webhooks import signing

router = APIRouter(tags=["keys"])


class KeyRequest(Closed):
    name: str
    scopes: list[Scope] = ["read", "write"]
    expires_at: float | None = None
    """Unix seconds; nothing: never."""


@router.get("/keys/current", summary="Who am I?", responses={**documented()})
async def current(context: Ctx, key: Reader) -> Response:
    """The key of this request, and the secrets that sign its webhooks, newest first."""
    secrets = await in_thread(signing.secrets_of, context.settings, context.ledger.engine, key.name)
    return json_response(key.document() | {"webhook_secrets": secrets}, headers={"Cache-Control": "no-store"})


@router.get("/keys", summary="List keys", responses={**documented()})
async def list_(context: Ctx, key: Admin) -> Response:
    """Never the secrets: only their digests are kept."""
    return json_response({"items": [one.document() for one in await in_thread(context.keys.list)]})


@router.post(
    "/keys",
    summary="Make a key",
    status_code=201,
    responses={**documented(400, 413, 415, 422)},
    openapi_extra=body_of(KeyRequest),
)
async def create(request: Request, context: Ctx, key: Admin) -> Response:
    """The secret is in this answer and nowhere else."""
    asked = await bodies.read_json(request, KeyRequest)
    created = await in_thread(context.keys.create, asked.name, asked.scopes, asked.expires_at)
    document = created.key.document() | {"secret": created.secret, "webhook_secret": created.webhook_secret}
    return json_response(document, 201, {"Cache-Control": "no-store"})


@router.delete("/keys/{which}", summary="Revoke", responses={**documented(404, 409)})
async def revoke(which: str, context: Ctx, key: Admin) -> Response:
    """By id, or by a name that only one valid key has. It stops working at once here, elsewhere within seconds."""
    return json_response((await in_thread(context.keys.revoke, which)).document())
