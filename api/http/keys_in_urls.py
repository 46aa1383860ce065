"""Where the key of a WebSocket and the signature of a link stand, and how they stay out of logs.

A browser can set no header on a WebSocket, so the key may also come as a sub-protocol (`milo.bearer.<key>`, offered
beside `milo.v1`), or, as the last resort, in the URL. Uvicorn writes URLs to its log.
"""

from __future__ import annotations

import logging
import re
from urllib.parse import parse_qsl, unquote, urlencode

from starlette.types import Scope

PROTOCOL = "milo.v1"
BEARER = "milo.bearer."
QUERY = "api_key"
SIGNATURE = "signature"
"""Of a link (`api/http/links.py`)."""
HIDDEN = "***"
_SECRETS = (
    re.compile(r"(\b(?:api_key|signature)=)[^&\s\"'#]+", re.IGNORECASE),
    re.compile(r"(\bmilo\.bearer\.)[^,\s\"']+", re.IGNORECASE),
    re.compile(r"(\bauthorization\W{1,6}(?:b?['\"])?bearer\s+)[^\s\"',]+", re.IGNORECASE),
)
_NO_HANDSHAKE = "ASGI callable returned without completing handshake."
"""Uvicorn 0.54 logs this error after each refusal that was an HTTP answer, although such an answer is in order."""
_LOGGERS = ("uvicorn.error", "uvicorn.access", "uvicorn.asgi", "websockets.server")


def offered(scope: Scope) -> str | None:
    """The key that a WebSocket carries as a sub-protocol or in its URL. Characters that no token may have come
    percent-encoded."""
    for name in scope.get("subprotocols", ()):
        if name.startswith(BEARER):
            return unquote(name[len(BEARER) :])
    query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
    return query.get(QUERY)


def scrub(scope: Scope) -> None:
    """Take the secret out of the URL: the server logs it when the socket is accepted or refused."""
    pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    if any(name in (QUERY, SIGNATURE) for name, _ in pairs):
        kept = [(name, HIDDEN if name in (QUERY, SIGNATURE) else value) for name, value in pairs]
        scope["query_string"] = urlencode(kept, safe="*").encode()


def subprotocol(scope: Scope) -> str | None:
    """What to answer: never the one that holds the key."""
    return PROTOCOL if PROTOCOL in scope.get("subprotocols", ()) else None


class Redact(logging.Filter):
    """Hides keys in what the server logs about connections, at any log level."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if text == _NO_HANDSHAKE:
            return False
        clean = text
        for pattern in _SECRETS:
            clean = pattern.sub(rf"\1{HIDDEN}", clean)
        if clean != text:
            record.msg, record.args = clean, None
        return True


def keep_keys_out_of_logs() -> None:
    """Put the filter on the loggers of the server. Calling it again changes nothing."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(one, Redact) for one in logger.filters):
            logger.addFilter(Redact())
