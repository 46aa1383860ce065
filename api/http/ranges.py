"""A file by HTTP ranges (RFC 9110, section 14): one range a request, `If-Range`, 416. Holds no file in memory."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, ExitStack
from typing import IO

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api.http.deps import in_thread
from api.http.problems import problem_response
from milo.errors import MiloError

CHUNK_BYTES = 256 * 1024


class BadRange(MiloError):
    code, status, title = "bad_range", 416, "The file has no such bytes"


async def ranged(
    request: Request,
    opened: AbstractContextManager[IO[bytes]],
    *,
    media_type: str,
    etag: str,
    headers: dict[str, str] | None = None,
    largest_part: int | None = None,
) -> Response:
    """The file, or the part that `Range` asks for. `opened` gives it as a seekable file; it is closed after the answer.

    More than one range at once is answered with the whole file, as a server may. A range is cut behind `largest_part`
    bytes: players ask for the rest when they want it.
    """
    stack = ExitStack()
    file = await in_thread(stack.enter_context, opened)
    try:
        size = await in_thread(file.seek, 0, 2)
        both = {"Accept-Ranges": "bytes", "ETag": etag, **(headers or {})}
        if etag in request.headers.get("if-none-match", ""):
            stack.close()
            return Response(status_code=304, headers=both)
        part = _asked(request, size, etag)
        if isinstance(part, BadRange):
            stack.close()
            return problem_response(part, request.url.path, {"Content-Range": f"bytes */{size}", **both})
        start, end = part or (0, size)
        if part and largest_part:
            end = min(end, start + largest_part)
        await in_thread(file.seek, start)
    except BaseException:
        stack.close()
        raise
    both["Content-Length"] = str(end - start)
    if part:
        both["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return StreamingResponse(
        _content(file, end - start, stack), 206 if part else 200, headers=both, media_type=media_type
    )


def _asked(request: Request, size: int, etag: str) -> tuple[int, int] | BadRange | None:
    """From where to where (not included); None for the whole file."""
    asked = request.headers.get("range")
    if asked is None or request.headers.get("if-range", etag) != etag:
        return None
    found = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", asked.replace(" ", ""))
    if found is None or found[0] == "bytes=-":
        return None  # another unit, several ranges, or nonsense: to be ignored
    if not found[1]:
        start, end = max(0, size - int(found[2])), size
    else:
        start, end = int(found[1]), min(size, int(found[2]) + 1) if found[2] else size
        if found[2] and int(found[2]) < start:
            return None
    if start >= size:
        return BadRange(f"the file has {size} bytes, and {asked!r} lies beyond them")
    return start, end


async def _content(file: IO[bytes], left: int, stack: ExitStack) -> AsyncIterator[bytes]:
    with stack:
        while left > 0 and (chunk := await in_thread(file.read, min(CHUNK_BYTES, left))):
            left -= len(chunk)
            yield chunk
