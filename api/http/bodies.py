"""Request bodies: JSON into models, multipart in a stream, base64 audio. Nothing large is held in memory twice."""

from __future__ import annotations

import base64
import binascii
import re
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from api.http.deps import in_parser
from api.http.problems import UnsupportedType, from_pydantic
from milo.errors import BadRequest, Invalid, TooLarge

Model = TypeVar("Model", bound=BaseModel)

MAX_VALUES = 400_000
"""JSON values in one body: a body of nothing but `[[[[` would take fifty times its size in memory."""
SMALL_BYTES = 4096
"""What is parsed sooner than a thread begins."""
MAX_FORM_HEADER = 2048
MAX_FIELD_BYTES = 64 * 1024
MAX_REQUEST_PART_BYTES = 8 * 1024**2
_BASE64_STEP = 4 * 256 * 1024


def content_type(request: Request) -> str:
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


def is_multipart(request: Request) -> bool:
    return content_type(request) == "multipart/form-data"


async def read_json(request: Request, model: type[Model], limit_bytes: int | None = None) -> Model:
    """The body as `model`. Raises `BadRequest` for what is not JSON, `Invalid` with pointers for wrong values.

    `limit_bytes` is for apps without the middleware `BodyLimit`: `TooLarge` over it.
    """
    kind = content_type(request)
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise UnsupportedType(f"the content type is {kind or 'missing'}; this path takes application/json")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedType("compressed bodies are not taken; send the JSON as it is")
    body = bytearray()
    async for chunk in request.stream():  # `request.body()` would keep it as long as the request
        body += chunk
        if limit_bytes is not None and len(body) > limit_bytes:
            raise TooLarge(f"the body is over {limit_bytes} bytes")
    if len(body) <= SMALL_BYTES:
        return parse_json(body, model)
    return await in_parser(parse_json, body, model)


def parse_json(body: bytes | bytearray, model: type[Model]) -> Model:
    """JSON text to a model, strict about what JSON is and about fields that don't exist."""
    if body.count(b",") + body.count(b"[") + body.count(b"{") > MAX_VALUES:
        raise TooLarge(f"the JSON holds more than {MAX_VALUES} values")
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise from_pydantic(error) from None


def validate(values: Any, model: type[Model], prefix: tuple[Any, ...] = ()) -> Model:
    """Form fields, or a part of a body, to a model."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise from_pydantic(error, prefix) from None


def decode_base64(text: str) -> Iterator[bytes]:
    """Audio from strict base64 or a `data:` URI, in pieces. Line breaks are allowed, as `base64` writes them."""
    if text.startswith("data:"):
        head, comma, text = text.partition(",")
        if not comma or not head.endswith(";base64"):
            raise _bad_audio("a data: URI has to read `data:audio/…;base64,…`")
    if not text.isascii():
        raise _bad_audio("it holds characters outside ASCII")
    if any(space in text for space in " \t\r\n"):
        text = re.sub(r"\s+", "", text)
    if len(text) % 4:
        raise _bad_audio(f"{len(text)} characters is not a multiple of 4: it was cut, or its padding is missing")
    for start in range(0, len(text), _BASE64_STEP):
        piece = text[start : start + _BASE64_STEP]
        if "=" in piece and start + _BASE64_STEP < len(text):
            raise _bad_audio("there is padding before the end")
        try:
            yield base64.b64decode(piece, validate=True)
        except (binascii.Error, ValueError) as error:
            raise _bad_audio(str(error)) from None


def _bad_audio(reason: str) -> Invalid:
    detail = f"`audio` is not valid base64: {reason}"
    return Invalid(detail, code="bad_base64", errors=[{"detail": detail, "pointer": "#/audio"}])


# --- multipart --------------------------------------------------------------------------------------------------------


@dataclass
class Part:
    """One part of a form. Its content comes by `chunks` or `text`, once, before the next part is asked for."""

    name: str
    filename: str | None
    _form: Multipart

    async def chunks(self) -> AsyncIterator[bytes]:
        async for chunk in self._form._content():
            yield chunk

    async def text(self, limit_bytes: int = MAX_FIELD_BYTES) -> str:
        """The value of a field. `TooLarge` over the limit, `Invalid` if it is not UTF-8."""
        value = bytearray()
        async for chunk in self.chunks():
            value += chunk
            if len(value) > limit_bytes:
                raise TooLarge(f"the form field {self.name!r} is larger than {limit_bytes} bytes")
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise Invalid(f"the form field {self.name!r} is not UTF-8 text") from None


class Multipart:
    """A multipart/form-data body, read as it arrives: a file goes where its reader puts it, and nowhere before."""

    def __init__(self, request: Request, max_parts: int) -> None:
        _, options = _options(request.headers["content-type"])
        boundary = options.get(b"boundary", b"")
        if not 0 < len(boundary) <= 256:
            raise BadRequest("the multipart content type names no boundary", code="bad_multipart")
        self._stream = request.stream()
        self._events: deque[tuple[str, Any]] = deque()
        self._header = [bytearray(), bytearray()]
        self._headers: dict[bytes, bytes] = {}
        self._ended = False
        self._left = max_parts
        self._max_parts = max_parts
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._headers.clear,
                "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_part,
                "on_part_data": lambda data, start, end: self._events.append(("data", data[start:end])),
                "on_part_end": lambda: self._events.append(("end", None)),
                "on_end": self._on_end,
            },
        )

    def _on_header_end(self) -> None:
        name, value = self._header
        self._headers[bytes(name).lower()] = bytes(value)
        self._header = [bytearray(), bytearray()]

    def _on_part(self) -> None:
        _, options = _options(self._headers.get(b"content-disposition", b""))
        name, filename = options.get(b"name"), options.get(b"filename")
        if name is None:
            raise BadRequest("a part of the form has no name", code="bad_multipart")
        self._left -= 1
        if self._left < 0:
            raise TooLarge(f"the form has more than {self._max_parts} parts")
        part = Part(_text(name), None if filename is None else _text(filename), self)
        self._events.append(("part", part))

    def _on_end(self) -> None:
        self._ended = True

    async def _next(self) -> tuple[str, Any] | None:
        while not self._events:
            try:
                chunk = await anext(self._stream)
            except StopAsyncIteration:
                if not self._ended:
                    raise BadRequest("the form ends in the middle of a part", code="bad_multipart") from None
                return None
            try:
                self._parser.write(chunk)
            except FormParserError as error:
                raise BadRequest(f"the form can't be read: {error}", code="bad_multipart") from None
        return self._events.popleft()

    async def _content(self) -> AsyncIterator[bytes]:
        while (event := await self._next()) and event[0] == "data":
            yield event[1]

    async def parts(self) -> AsyncIterator[Part]:
        """Each part in turn. What was not read of one is passed over."""
        while event := await self._next():
            if event[0] == "part":
                yield event[1]


def _options(header: str | bytes) -> tuple[bytes, dict[bytes, bytes]]:
    if len(header) > MAX_FORM_HEADER:  # what reads it takes time by the square of its length
        raise BadRequest(f"a header of a form has at most {MAX_FORM_HEADER} bytes", code="bad_multipart")
    return parse_options_header(header)


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
