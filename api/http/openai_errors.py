"""What the OpenAI-compatible routes answer errors with: `{"error": {message, type, param, code}}`.

The shapes are those of https://platform.openai.com/docs/api-reference as the `openai` package parses them.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from starlette.responses import JSONResponse

from milo.errors import Invalid, MiloError

PREFIX = "/v1/"
_STATUS = {415: 400, 422: 400}
"""OpenAI says 400 for every wrong value."""
_CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded"}


def is_openai(path: str | None) -> bool:
    """Whether a path belongs to OpenAI's clients."""
    return bool(path) and str(path).startswith(PREFIX)


def error_document(error: MiloError) -> dict[str, Any]:
    """The error in OpenAI's shape."""
    status = error.status
    kind = "server_error" if status >= 500 else "rate_limit_error" if status == 429 else "invalid_request_error"
    param = _param(error)
    message = re.sub(r"^#/\S*: ", f"`{param}`: ", error.detail)
    return {"error": {"message": message, "type": kind, "param": param, "code": _CODES.get(status, error.code)}}


def error_response(error: MiloError, headers: dict[str, str] | None = None) -> JSONResponse:
    """The answer for an error."""
    headers = dict(headers or {})
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if error.status >= 500:
        headers.setdefault("X-Should-Retry", str(error.retryable).lower())  # the `openai` package tries again thrice
    if error.status == 401:
        headers.setdefault("WWW-Authenticate", 'Bearer realm="milo"')
    return JSONResponse(error_document(error), _STATUS.get(error.status, error.status), headers)


def _param(error: MiloError) -> str | None:
    """`#/messages/0/content` as OpenAI writes it: `messages[0].content`."""
    for one in error.errors or ():
        if one.get("parameter"):
            return str(one["parameter"])
        path = str(one.get("pointer", "")).removeprefix("#/")
        if path:
            parts = path.replace("~1", "/").replace("~0", "~").split("/")
            return "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in parts).lstrip(".")
    return None


def param_error(detail: str, param: str, code: str = "unsupported_value") -> Invalid:
    """`Invalid` that names a parameter."""
    return Invalid(detail, code=code, errors=[{"detail": detail, "pointer": f"#/{param}"}])


def event(data: dict[str, Any] | str, name: str | None = None) -> dict[str, str]:
    """One server-sent event, as `EventSourceResponse` takes them."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return {"data": text} | ({"event": name} if name else {})


def error_event(error: MiloError) -> dict[str, str]:
    """An error in the middle of a stream: the `openai` package raises it."""
    return event(error_document(error), "error")
