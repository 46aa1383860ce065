"""Every answer that is not a success, as a problem document (RFC 9457): one shape for all, and never a trace."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from api.http import openai_errors
from milo.errors import BadRequest, Invalid, MiloError, NotFound

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
CLIENT_CLOSED = 499
"""nginx's number for "nobody is left to read the answer"; it only ever shows in metrics."""
MAX_ERRORS = 100


class MethodNotAllowed(MiloError):
    code, status, title = "method_not_allowed", 405, "That path does not take this method"


class Stalled(MiloError):
    code, status, title = "stalled", 408, "The request stopped arriving"


class UnsupportedType(MiloError):
    code, status, title = "unsupported_media_type", 415, "That content type is not understood here"


class Problem(BaseModel):
    """RFC 9457, for the documentation."""

    type: str = "urn:milo:error:invalid"
    title: str = "A value is wrong"
    status: int = 422
    detail: str = "unknown format 'doc'; one of txt, srt, vtt, tsv, json, verbose_json"
    code: str = "invalid"
    retryable: bool = False
    instance: str | None = None
    errors: list[dict[str, Any]] | None = None


_MEANING = {
    400: "the request can't be understood",
    401: "a valid API key is needed",
    403: "not allowed for this key, or a path outside the allowed roots",
    404: "unknown id, or another owner's",
    408: "the body stopped arriving",
    409: "conflicts with the present state",
    412: "made for another revision than the newest; the answer holds the newest",
    413: "over a size limit; the detail names it",
    415: "wrong content type, or audio that can't be read",
    422: "a value is wrong; `errors` points at it",
    428: "the change needs an `If-Match`",
    429: "too many requests or queued jobs; see Retry-After",
    503: "a part of Milo is down; see Retry-After",
}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: its problem statuses, and those that every route with a key has."""
    both = sorted({401, 403, 429, 503, *statuses})
    return {
        status: {
            "description": _MEANING[status],
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in both
    }


class OpenAIError(BaseModel):
    """What OpenAI's clients understand, for the documentation."""

    error: dict[str, str | None] = {
        "message": "`input`: the text is empty; send what is to be spoken",
        "type": "invalid_request_error",
        "param": "input",
        "code": "empty_text",
    }


def documented_openai(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The same for OpenAI's paths."""
    schema = {"application/json": {"schema": {"$ref": "#/components/schemas/OpenAIError"}}}
    return {status: one | {"content": schema} for status, one in documented(*statuses).items()}


def retry_after(seconds: float) -> str:
    return str(max(1, math.ceil(seconds)))


def problem_response(error: MiloError, instance: str | None = None, headers: dict[str, str] | None = None) -> Response:
    """The answer for an error that was raised on purpose; on OpenAI's paths in their shape."""
    if openai_errors.is_openai(instance):
        return openai_errors.error_response(error, headers)
    document = error.problem(instance)
    headers = dict(headers or {})
    if error.retry_after_s is not None:
        headers["Retry-After"] = retry_after(error.retry_after_s)
    if error.status == 401:
        headers.setdefault("WWW-Authenticate", 'Bearer realm="milo"')
    return document_response(document, headers)


def document_response(document: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    """The answer for a problem document that already exists (the one a failed job carries)."""
    return Response(
        json.dumps(document, ensure_ascii=True), int(document.get("status", 500)), headers, media_type=MEDIA_TYPE
    )


async def send_problem(error: MiloError, scope: Scope, receive: Receive, send: Send) -> None:
    """The same from a middleware."""
    await problem_response(error, scope["path"])(scope, receive, send)


_OF_TEXTS = re.compile(r"^Value (should have at \w+ \d+) item(s?) after validation,")
"""How pydantic speaks of the length of a text that has a validator of its own."""


def pointer(location: Iterable[Any]) -> str:
    """A JSON pointer as a URI fragment: `#/items/0/blob`."""
    return "#/" + "/".join(str(part).replace("~", "~0").replace("/", "~1") for part in location)


_BRANCH = re.compile(r"[\w-]+\[.*\]|.*[<>()\s].*|str|int|float|bool|dict|list|none", re.DOTALL)
"""How pydantic names the branch of a union that it tried: `function-plain[…]`, `list[str]`, a type."""


def _path(error: Any) -> list[Any]:
    """The fields of the request, without the names of union branches, which are no part of it."""
    location = list(error["loc"])
    end = [location.pop()] if location and error["type"] == "extra_forbidden" else []  # a name of the client's own
    kept = [part for part in location[1:] if isinstance(part, int) or not _BRANCH.fullmatch(part)]
    return [part for part in (*location[:1], *kept, *end) if part != "__root__"]


def invalid(errors: Sequence[Any], prefix: tuple[Any, ...] = ()) -> Invalid:
    """What pydantic found, as one error with a pointer for each value. The input itself is not echoed."""
    details = []
    for error in errors[:MAX_ERRORS]:
        location = (*prefix, *_path(error))
        message = error["msg"].removeprefix("Value error, ")
        if error["type"] == "extra_forbidden":
            message = "there is no such field"
        message = _OF_TEXTS.sub(r"String \1 character\2,", message)
        details.append({"detail": message, "pointer": pointer(location)})
    first = details[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return Invalid(f"{first['pointer']}: {first['detail']}{more}", errors=details)


def from_pydantic(error: ValidationError, prefix: tuple[Any, ...] = ()) -> MiloError:
    """`BadRequest` for text that is not JSON, `Invalid` for JSON that is not what was asked for."""
    errors = error.errors(include_url=False, include_input=False, include_context=False)
    if errors[0]["type"] == "json_invalid":
        return BadRequest(f"the body is not valid JSON: {errors[0]['msg'].removeprefix('Invalid JSON: ')}")
    return invalid(_furthest(errors), prefix)


def _furthest(errors: Sequence[Any]) -> list[Any]:
    """Of a union's branches the one that got furthest tells most: "not a text" says little where a list was meant."""
    paths = [_path(error) for error in errors]
    return [
        error
        for error, path in zip(errors, paths, strict=True)
        if not (
            error["type"].endswith("_type")
            and any(len(other) > len(path) and other[: len(path)] == path for other in paths)
        )
    ]


def install(app: Starlette, directory: str = "/docs lists what is") -> None:
    """Make the app answer every failure with a problem document. `directory` says where the paths are listed."""

    async def _milo(request: Request, error: MiloError) -> Response:
        if error.status >= 500:
            log.warning("%s %s: %s", request.method, request.url.path, error)
        return problem_response(error, request.url.path)

    async def _validation(request: Request, error: RequestValidationError) -> Response:
        problem = invalid([{**one, "loc": one["loc"][1:]} for one in error.errors()])  # without `query`, `path`
        for one, raw in zip(problem.errors or [], error.errors(), strict=False):
            if raw["loc"][0] in ("query", "path", "header"):
                one["parameter"] = one.pop("pointer")[2:]
        problem.detail = problem.detail.removeprefix("#/")
        return problem_response(problem, request.url.path)

    async def _http(request: Request, error: HTTPException) -> Response:
        return problem_response(_of_http(request, error, directory), request.url.path, dict(error.headers or {}))

    async def _gone(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=CLIENT_CLOSED)

    async def _unexpected(request: Request, error: Exception) -> Response:
        # Starlette raises it again after the answer, and the server logs the trace
        hidden = MiloError("something broke inside Milo; the server's log has the details", code="internal_error")
        return problem_response(hidden, request.url.path)

    handlers: dict[type[Exception], Any] = {
        MiloError: _milo,
        RequestValidationError: _validation,
        HTTPException: _http,
        ClientDisconnect: _gone,
        Exception: _unexpected,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


def _of_http(request: Request, error: HTTPException, directory: str) -> MiloError:
    if error.status_code == 404:
        return NotFound(f"there is nothing at {request.url.path}; {directory}", code="unknown_path")
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        return MethodNotAllowed(f"{request.url.path} does not take {request.method}; it takes {allowed or 'others'}")
    problem = BadRequest(str(error.detail))
    problem.status = error.status_code
    return problem


def json_response(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(document, status, headers)
