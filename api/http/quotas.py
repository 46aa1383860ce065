"""What one key may have open, and how much it may ask: counted before a route runs."""

from __future__ import annotations

from contextlib import AsyncExitStack

from starlette.types import ASGIApp, Receive, Scope, Send

from api.http.problems import send_problem
from milo.queue.places import Kind, Places
from milo.quotas import QuotaExceeded


class KeyQuotas:
    """ASGI middleware behind `Authentication`: requests, event streams and sockets of the key. Others pass."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = scope.get("milo.key")
        if scope["type"] == "lifespan" or key is None:
            await self.app(scope, receive, send)
            return
        places: Places = scope["app"].state.context.places
        async with AsyncExitStack() as held:
            try:
                places.request(key.name)
                if kind := _kind(scope):
                    await held.enter_async_context(places.hold(kind, key.name))
            except QuotaExceeded as error:
                await send_problem(error, scope, receive, send)
                return
            await self.app(scope, receive, send)


def _kind(scope: Scope) -> Kind | None:
    if scope["type"] == "websocket":
        return "sockets"
    return "streams" if scope["method"] == "GET" and scope["path"].rstrip("/").endswith("/events") else None
