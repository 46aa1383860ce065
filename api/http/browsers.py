"""The rules for browsers, before anything else is looked at: foreign names of this server, and pages of others."""

from __future__ import annotations

from collections import defaultdict

from starlette.types import ASGIApp, Receive, Scope, Send

from api.http.problems import send_problem
from milo.browsers import BrowserRules
from milo.errors import MiloError
from milo.settings import Settings


class Browsers:
    """ASGI middleware: answers 421 to a foreign `Host`, 403 to a page of another origin that would change something."""

    def __init__(self, app: ASGIApp, settings: Settings, bound: str) -> None:
        self.app = app
        self.rules = BrowserRules(settings, bound)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers: defaultdict[str, list[str]] = defaultdict(list)
        for name, value in scope["headers"]:
            headers[name.decode("latin-1").lower()].append(value.decode("latin-1"))
        try:
            self.rules.check(scope["method"] if scope["type"] == "http" else None, headers)
        except MiloError as error:
            await send_problem(error, scope, receive, send)
            return
        await self.app(scope, receive, send)
