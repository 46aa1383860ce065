"""Multipart forms with files, read as they arrive: each file goes to the store, each field to its reader."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request

from api.http.bodies import Multipart, Part
from api.http.problems import invalid
from api.requests.owned import OwnBlobs
from api.requests.sources import file_name
from milo.errors import BadMedia, MiloError
from milo.jobs import AudioSource
from milo.storage.files import Blob


@dataclass(frozen=True)
class Upload:
    """A `file` part, stored."""

    blob: Blob
    filename: str | None

    def source(self, name: str | None = None, fallback: str = "audio") -> AudioSource:
        """The recording, under a name that people gave it. `BadMedia` for an empty file."""
        if self.blob.size_bytes == 0:
            raise BadMedia("The file is empty (0 bytes).", code="empty_audio")
        return AudioSource(blob=self.blob.id, name=name or file_name(self.filename, fallback))


async def _pass_over(part: Part) -> None:
    """For forms whose other parts mean nothing."""


async def _at_once() -> None:
    """Nothing is to be found out before a file is stored."""


async def read_form(
    request: Request,
    stored: OwnBlobs,
    max_bytes: int,
    max_parts: int,
    *,
    take_field: Callable[[Part], Awaitable[None]] = _pass_over,
    before_file: Callable[[], Awaitable[None]] = _at_once,
    second_file: MiloError | None = None,
) -> list[Upload]:
    """Store every `file` part, `max_bytes` in all, and give `take_field` the others, in the order of the form.

    `before_file` raises what can be known before a file is stored; `second_file` is raised where one is all.
    """
    uploads: list[Upload] = []
    left = max_bytes
    async for part in Multipart(request, max_parts).parts():
        if part.name != "file":
            await take_field(part)
            continue
        if uploads and second_file:
            raise second_file
        await before_file()
        blob = await stored.receive(part.chunks(), left)
        left -= blob.size_bytes
        uploads.append(Upload(blob, part.filename))
    return uploads


def only_file(uploads: list[Upload], missing: str = "the form has no part named `file`") -> Upload:
    """The file of a form that must have one. `Invalid` otherwise."""
    if not uploads:
        raise invalid([{"loc": ("file",), "msg": missing, "type": "missing"}])
    return uploads[0]
