"""One accepted WebSocket. Events go out one by one; a client that stops reading loses the socket, and nobody waits.

uvicorn holds back a sender while more than 64 KiB wait for the client, so that is all that piles up.
"""

from __future__ import annotations

import json
import logging
from typing import Any

import anyio
from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect

from milo.errors import MiloError

log = logging.getLogger(__name__)

SEND_STALL_S = 10.0
"""A client that takes nothing for this long is gone, or as good as gone."""
CLOSE_S = 2.0

TOO_BIG = 1009
POLICY = 1008
BROKEN = 1011
TRY_LATER = 1013
WRONG_KEY = 4401
NO_SESSION = 4404
IDLE = 4408
WRONG_VALUE = 4422


class Socket:
    """The sending and receiving side of a conversation. Whoever holds `scope` ends with the socket."""

    def __init__(self, websocket: WebSocket, partials: bool = False) -> None:
        self._websocket = websocket
        self.partials = partials
        """Whether the client asked for transcripts that are not final; one that did not would take each for a turn."""
        self.scope = anyio.CancelScope()
        self.open = True

    async def receive(self) -> str | bytes | None:
        """The next frame; None when the client has gone."""
        try:
            message: Message = await self._websocket.receive()
        except RuntimeError:  # starlette: a disconnect has been received before
            return None
        if message["type"] == "websocket.disconnect":
            return None
        frame: str | bytes | None = message.get("bytes")
        return str(message.get("text") or "") if frame is None else frame

    async def send(self, event: str, **fields: Any) -> None:
        """Send one event. If that can't be done, the conversation is over: its scope is cancelled."""
        if not self.open or (event == "transcript" and not fields["final"] and not self.partials):
            return
        try:
            with anyio.fail_after(SEND_STALL_S):
                await self._websocket.send_text(json.dumps({"type": event, **_with_old_names(event, fields)}))
        except TimeoutError:
            log.info("a conversation ends: its client has not read for %g s", SEND_STALL_S)
            self._abort()
            self._end()
        except (WebSocketDisconnect, RuntimeError):
            self._end()

    async def error(self, error: MiloError) -> None:
        """The problem document of an error, as an event: `type` is `error`, `code` is the stable name."""
        document = error.problem()
        if error.retry_after_s is not None:
            document["retry_after_s"] = error.retry_after_s
        await self.send("error", **{name: value for name, value in document.items() if name != "type"})

    async def close(self, code: int, reason: str = "") -> None:
        """End the conversation with a close frame. `reason` is cut to what a close frame holds (123 bytes)."""
        if self.open:
            short = reason.encode()[:123].decode(errors="ignore")
            with anyio.move_on_after(CLOSE_S, shield=True) as late:
                try:
                    await self._websocket.close(code, short)
                except (WebSocketDisconnect, RuntimeError):
                    pass
            if late.cancelled_caught:
                self._abort()
        self._end()

    def _end(self) -> None:
        self.open = False
        self.scope.cancel()

    def _abort(self) -> None:
        """Drop the connection with what waits in it: an orderly close would wait for the client to read, for ever.

        ASGI has no word for it; uvicorn's transport is reached through the `receive` that belongs to it.
        """
        protocol = getattr(getattr(self._websocket, "_receive", None), "__self__", None)
        abort = getattr(getattr(protocol, "transport", None), "abort", None)
        if abort:
            abort()


def _with_old_names(event: str, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields, and beside them the names that clients of the prototype read."""
    if event == "transcript":
        return {**fields, "partial": not fields["final"]}
    if event == "mode":
        return {**fields, "value": fields["mode"]}
    if event == "error":
        return {**fields, "error": fields["detail"]}
    return fields
