"""Uvicorn's HTTP protocol whose head is bounded in bytes and in seconds (`--http api.http.protocol:BoundedHttp`).

Uvicorn bounds neither with httptools: anybody, without a key, could fill memory with headers, or hold connections open
by never ending one. Bodies are bounded by `api/http/limits.py`.
"""

from __future__ import annotations

import asyncio
from typing import Any

from httptools import HttpParserError
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

TOO_LARGE = b"the request line and headers are larger than this server takes\n"


class BoundedHttp(HttpToolsProtocol):
    """Answers 431 to a larger head, and closes a connection whose head does not come."""

    max_head_bytes = 64 * 1024
    head_s = 20.0

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._in_head = True
        self._head_bytes = self._parsed_bytes = 0
        self._clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > self.max_head_bytes:
            self._refuse()

    def _refuse(self) -> None:
        if not self.transport.is_closing() and self._in_head:
            head = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n"
            head += b"content-type: text/plain\r\ncontent-length: %d\r\n\r\n" % len(TOO_LARGE)
            self.transport.write(head + TOO_LARGE)
        self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes, self._parsed_bytes = True, 0, 0
        self._start_clock()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Of a head, or of the trailer of a body in chunks."""
        self._count(len(name) + len(value) + 4)  # `: ` and the end of the line
        super().on_header(name, value)

    def _count(self, size: int) -> None:
        """What came in one piece with its end is measured here, before the app sees it."""
        self._parsed_bytes += size
        if self._parsed_bytes > self.max_head_bytes:
            self._refuse()
            raise HttpParserError("a head that is too large")

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_clock()
        super().on_headers_complete()

    def _start_clock(self) -> None:
        self._stop_clock()
        self._clock = self.loop.call_later(self.head_s, self._too_slow)

    def _stop_clock(self) -> None:
        if self._clock:
            self._clock.cancel()
            self._clock = None

    def _too_slow(self) -> None:
        if self._in_head and not self.transport.is_closing():
            self.transport.close()
