"""How the web page on this machine gets a key: by a link that counts once (`milo web`, and the first `milo up`).

The link carries its ticket behind the `#`, which no browser sends to a server; the page exchanges it here for a key of
its own, which ends by itself and is revoked like any other.
"""

from __future__ import annotations

import time

from fastapi import APIRouter, Request, Response

from api.http import bodies
from api.http.deps import Admin, Context, Ctx, in_thread
from api.http.problems import documented, json_response
from api.requests.schemas import body_of
from milo.addresses import is_loopback
from milo.errors import Forbidden, Unauthorized
from milo.jobs import iso
from milo.kinds.fields import Closed
from milo.ledger.keys import SCOPES, NewKey
from milo.queue import once

router = APIRouter(tags=["keys"])

KEY_NAME = "web"
KEY_S = 12 * 3600
BODY_BYTES = 4096


class TicketRequest(Closed):
    once: str
    """What stands behind `#once=` in the link."""


@router.post("/web/links", summary="Make a link for the web page", status_code=201, responses={**documented()})
async def link(context: Ctx, key: Admin) -> Response:
    """The answer's `once` goes behind `#once=` in the page's address. It counts once, for ten minutes."""
    ticket = await in_thread(once.make_ticket, context.settings)
    document = {"once": ticket, "expires_at": iso(time.time() + once.TTL_S)}
    return json_response(document, 201, {"Cache-Control": "no-store"})


@router.post(
    "/web/keys",
    summary="Exchange a link for a key",
    status_code=201,
    responses={**documented(400, 413, 415, 422)},
    openapi_extra=body_of(TicketRequest),
)
async def exchange(request: Request, context: Ctx) -> Response:
    """For the web page, from this machine only, without a key: the key of an administrator, for twelve hours."""
    asked = await bodies.read_json(request, TicketRequest, BODY_BYTES)
    if not _from_this_machine(request):
        raise Forbidden("a link counts on Milo's own machine; elsewhere give the page a key (`milo keys create`)")
    new = await in_thread(_exchanged, context, asked.once)
    document = new.key.document() | {"secret": new.secret}
    return json_response(document, 201, {"Cache-Control": "no-store"})


def _from_this_machine(request: Request) -> bool:
    """Whether the caller's address is loopback, or the very address that it asked."""
    client, server = request.scope.get("client"), request.scope.get("server")
    return client is None or is_loopback(client[0]) or bool(server and client[0] == server[0])


def _exchanged(context: Context, ticket: str) -> NewKey:
    if not once.use_ticket(context.settings, ticket):
        raise Unauthorized("this link was used already, or is too old; `milo web` prints a new one", code="used_link")
    return context.keys.create(KEY_NAME, SCOPES, time.time() + KEY_S)
