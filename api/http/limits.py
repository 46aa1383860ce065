"""How much one may send, and how fast it must arrive; before a route runs. How often: `api/http/rates.py`."""

from __future__ import annotations

import re

import anyio
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.problems import Stalled, send_problem
from milo.errors import BadRequest, MiloError, TooLarge
from milo.settings import Settings

JSON_BYTES = 8 * 1024**2
"""Largest JSON body on paths where no audio travels in it."""
MULTIPART_ROOM_BYTES = 1024**2
"""For boundaries and small fields beside the file of exactly the largest size."""
STALL_S = 60.0
"""A body of which nothing arrives for this long is given up."""


def body_limit(settings: Settings, scope: Scope) -> tuple[int, str]:
    """Bytes, and the setting that says so."""
    content_type = Headers(scope=scope).get("content-type", "").lower()
    if content_type.startswith("multipart/"):
        return settings.max_upload_bytes + MULTIPART_ROOM_BYTES, "MILO_MAX_UPLOAD_BYTES"
    path = scope["path"].rstrip("/")
    if path.endswith("/blobs") or re.search(r"/uploads(/[^/]*)?$", path):
        return settings.max_upload_bytes, "MILO_MAX_UPLOAD_BYTES"
    if path.endswith("/stt"):
        return settings.max_body_bytes, "MILO_MAX_BODY_BYTES"
    return min(settings.max_body_bytes, JSON_BYTES), "the limit for JSON without audio"


class BodyLimit:
    """ASGI middleware: refuses a body by its Content-Length at once, and counts one that comes without."""

    def __init__(self, app: ASGIApp, settings: Settings, stall_s: float = STALL_S) -> None:
        self.app = app
        self.settings = settings
        self.stall_s = stall_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit, named = body_limit(self.settings, scope)
        too_large = TooLarge(
            f"the body is larger than {limit} bytes, the most this path takes ({named}); "
            "send large audio to POST /api/v1/blobs or as multipart"
        )
        length = Headers(scope=scope).get("content-length")
        if length is not None and not (length.isascii() and length.isdigit()):
            await send_problem(BadRequest(f"Content-Length {length!r} is not a number"), scope, receive, send)
            return
        if length is not None and int(length) > limit:
            await send_problem(too_large, scope, receive, send)
            return
        await self.app(scope, _Counter(receive, limit, too_large, self.stall_s), send)


class _Counter:
    def __init__(self, receive: Receive, limit: int, too_large: MiloError, stall_s: float) -> None:
        self.receive = receive
        self.left = limit
        self.too_large = too_large
        self.stall_s = stall_s
        self.complete = False

    async def __call__(self) -> Message:
        if self.complete:  # only a disconnect can come now
            return await self.receive()
        try:
            with anyio.fail_after(self.stall_s):
                message = await self.receive()
        except TimeoutError:
            raise Stalled(f"nothing of the body has arrived for {self.stall_s:g} s") from None
        self.left -= len(message.get("body", b""))
        self.complete = not message.get("more_body", False)
        if self.left < 0:
            raise self.too_large
        return message
