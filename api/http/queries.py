"""Unknown query parameters are refused, as unknown fields of a body are; HEAD works where GET does."""

from __future__ import annotations

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from milo.errors import Invalid


async def check_query(connection: HTTPConnection) -> None:
    """A dependency of every route: `/jobs?status=failed` is not a list of all jobs."""
    route = connection.scope.get("route")
    if not isinstance(route, APIRoute) or not isinstance(connection, Request) or not connection.query_params:
        return
    known = _names(route.dependant)
    unknown = [name for name in connection.query_params if name not in known]
    if unknown:
        detail = f"there is no query parameter {unknown[0][:100]!r} here"
        detail += f"; known are {', '.join(sorted(known))}" if known else "; this path takes none"
        errors = [{"detail": "there is no such parameter", "parameter": name[:100]} for name in unknown[:20]]
        raise Invalid(detail, code="unknown_parameter", errors=errors)


def _names(dependant: Dependant) -> set[str]:
    own = {field.alias for field in dependant.query_params}
    return own.union(*map(_names, dependant.dependencies))


class HeadAsGet:
    """Answers HEAD as GET would, without the body. What streams is told that nobody reads on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            return await self._app(scope, receive, send)
        started = False

        async def hear() -> Message:
            return {"type": "http.disconnect"} if started else await receive()

        async def head_only(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                await send(message)
                await send({"type": "http.response.body", "body": b""})

        await self._app({**scope, "method": "GET"}, hear, head_only)
