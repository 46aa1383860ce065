"""What a client can send as audio: a file, bytes, an open file; hashed first, so that nothing is sent twice."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from milo.errors import Conflict, Invalid

CHUNK_BYTES = 1 << 20
Source = str | os.PathLike[str] | bytes | BinaryIO


class ServerPath(str):
    """A file that the server reads itself, under one of its MILO_AUDIO_ROOTS."""


def prepare(source: Source) -> tuple[str, int, Callable[[], Iterator[bytes]]]:
    """sha256, size in bytes, and a function that opens the content anew for each try.

    The content raises `Conflict` when it has another size by then.
    """
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest(), len(source), lambda: iter([source])
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        digest, size_bytes = sha256_of(path)
        return digest, size_bytes, lambda: _exactly(size_bytes, _read_file(path), path.name)
    if not source.seekable():
        return prepare(source.read())
    start = source.tell()

    def content() -> Iterator[bytes]:
        source.seek(start)
        return iter(lambda: source.read(CHUNK_BYTES), b"")

    digest, size_bytes = _digest(content())
    return digest, size_bytes, lambda: _exactly(size_bytes, content(), str(getattr(source, "name", "the stream")))


def sha256_of(path: Path) -> tuple[str, int]:
    """Hash and size in bytes of a file. Raises `Invalid` for what is not a plain file."""
    if not path.is_file():
        raise Invalid(f"{path} is not a file" if path.exists() else f"there is no file {path}", code="no_file")
    return _digest(_read_file(path))


def _digest(chunks: Iterator[bytes]) -> tuple[str, int]:
    sha256, size_bytes = hashlib.sha256(), 0
    for chunk in chunks:
        sha256.update(chunk)
        size_bytes += len(chunk)
    return sha256.hexdigest(), size_bytes


def _exactly(size_bytes: int, chunks: Iterator[bytes], name: str) -> Iterator[bytes]:
    left = size_bytes
    for chunk in chunks:
        left -= len(chunk)
        if left < 0:
            break
        yield chunk
    if left:
        raise Conflict(f"{name} changed while it was being sent", code="changed_file")


def _read_file(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from iter(lambda: file.read(CHUNK_BYTES), b"")
