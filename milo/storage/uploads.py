"""Uploads that are not complete yet: a file that grows by pieces, however often the connection breaks.

    MILO_HOME/uploads/<id>/content       what has arrived
    MILO_HOME/uploads/<id>/about.json    how much is to come, whose it is; the blob that it became

Its pieces lie on the machine that took them; when the last one is there, the file becomes a blob of the store. Knows
nothing of HTTP; `api.routes.uploads` speaks the tus protocol.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from pydantic import BaseModel, ConfigDict

from milo.errors import Conflict, MiloError, NotFound, TooLarge, TooMany
from milo.settings import Settings
from milo.storage.files import Files, disk_errors

LIFE_S = 86_400.0
"""An upload to which nothing was added for so long is given up."""
MAX_OPEN = 100
"""Uploads of one key that may be open at once."""
CHECKSUMS = ("sha1", "sha256", "md5")


class Locked(MiloError):
    code, status, title, retryable = "upload_in_use", 423, "Another request is adding to this upload", True


class ChecksumMismatch(MiloError):
    code, status, title, retryable = "checksum_mismatch", 460, "The piece is not what its checksum says", True


class _About(BaseModel):
    model_config = ConfigDict(frozen=True)

    owner: str
    size_bytes: int
    metadata: str
    created_at: float
    blob: str | None = None


@dataclass(frozen=True)
class Upload:
    """How far one is."""

    id: str
    owner: str
    size_bytes: int
    offset: int
    """Bytes that have arrived."""
    metadata: str
    """As the client sent it."""
    expires_at: float
    """Unix seconds; each piece puts it off."""
    blob: str | None
    """The blob that it became; None while something is missing."""


class Uploads:
    """Those of an installation."""

    def __init__(self, settings: Settings, files: Files) -> None:
        self._settings, self._files = settings, files
        self._root = settings.home / "uploads"

    def create(self, owner: str, size_bytes: int, metadata: str) -> Upload:
        """A new one. Raises `TooLarge`, and `TooMany` for an owner who leaves many open."""
        limit = self._settings.max_upload_bytes
        if size_bytes > limit:
            raise TooLarge(f"the upload is larger than {limit} bytes, the most this server takes")
        self.drop_expired()
        mine = [upload for upload in self._all() if upload.owner == owner and upload.blob is None]
        if len(mine) >= MAX_OPEN:
            raise TooMany(
                f"{len(mine)} uploads of this key are open, and {MAX_OPEN} is the most: complete or delete some",
                code="too_many_uploads",
                retry_after_s=60,
            )
        upload_id = f"upload_{secrets.token_hex(12)}"
        with disk_errors():
            folder = self._root / upload_id
            folder.mkdir(parents=True, mode=0o700)
            (folder / "content").touch()
            about = _About(owner=owner, size_bytes=size_bytes, metadata=metadata, created_at=time.time())
            self._write(upload_id, about)
        return self.get(upload_id, owner) if size_bytes else self._complete(upload_id, about)

    def get(self, upload_id: str, owner: str | None) -> Upload:
        """One of the owner's (None: of anybody's). Raises `NotFound` for others, and for one that was given up."""
        about = self._about(upload_id)
        if about is None or owner not in (None, about.owner):
            raise NotFound(f"there is no upload {upload_id!r}; it may have expired", code="unknown_upload")
        upload = self._upload(upload_id, about)
        if upload.expires_at < time.time():
            raise NotFound(f"the upload {upload_id!r} has expired", code="unknown_upload")
        return upload

    async def append(
        self, upload: Upload, offset: int, chunks: AsyncIterator[bytes], checksum: tuple[str, bytes] | None = None
    ) -> Upload:
        """Add a piece, which must begin where the upload ends (`Conflict` otherwise). What arrived of it before the
        connection broke stays, unless it has a checksum, which can't be right then."""
        with self._locked(upload.id) as file:
            at = file.seek(0, os.SEEK_END)
            now = self.get(upload.id, None)
            if now.blob is not None or offset != at:
                raise Conflict(f"the upload is at byte {now.offset}, not at {offset}", code="wrong_offset")
            digest = hashlib.new(checksum[0], usedforsecurity=False) if checksum else None
            kept = False
            try:
                async for chunk in chunks:
                    at += len(chunk)
                    if at > upload.size_bytes:
                        raise TooLarge(f"the upload has {upload.size_bytes} bytes, and more have been sent")
                    with disk_errors():
                        file.write(chunk)
                        file.flush()  # so that HEAD tells
                    if digest:
                        digest.update(chunk)
                if digest and checksum and digest.digest() != checksum[1]:
                    raise ChecksumMismatch(f"the {checksum[0]} of the piece is {digest.hexdigest()}; send it again")
                kept = True
            finally:
                if not kept:
                    self._settle(file, offset if checksum or at > upload.size_bytes else None)
            await asyncio.to_thread(self._settle, file, None)
            if at == upload.size_bytes:
                about = self._about(upload.id)
                assert about is not None
                return await asyncio.to_thread(self._complete, upload.id, about)
        return self.get(upload.id, None)

    def delete(self, upload: Upload) -> None:
        """Give it up. The blob that it became stays."""
        with self._locked(upload.id):
            shutil.rmtree(self._root / upload.id, ignore_errors=True)

    def drop_expired(self) -> int:
        """Remove those to which nothing was added for `LIFE_S`. Returns how many."""
        gone = [upload for upload in self._all() if upload.expires_at < time.time()]
        for upload in gone:
            shutil.rmtree(self._root / upload.id, ignore_errors=True)
        return len(gone)

    def _all(self) -> Iterator[Upload]:
        for folder in self._root.glob("upload_*"):
            if about := self._about(folder.name):
                yield self._upload(folder.name, about)

    def _upload(self, upload_id: str, about: _About) -> Upload:
        folder = self._root / upload_id
        try:
            content = (folder / "content").stat()
            offset, touched = content.st_size, content.st_mtime
        except FileNotFoundError:  # it became a blob
            offset, touched = about.size_bytes, about.created_at
            with_about = folder / "about.json"
            touched = with_about.stat().st_mtime if with_about.exists() else touched
        return Upload(upload_id, about.owner, about.size_bytes, offset, about.metadata, touched + LIFE_S, about.blob)

    def _about(self, upload_id: str) -> _About | None:
        if not re.fullmatch(r"upload_[0-9a-f]{24}", upload_id):
            return None
        try:
            return _About.model_validate_json((self._root / upload_id / "about.json").read_bytes())
        except (FileNotFoundError, ValueError):
            return None

    def _write(self, upload_id: str, about: _About) -> None:
        path = self._root / upload_id / "about.json"
        aside = path.with_suffix(".new")
        aside.write_text(about.model_dump_json(), encoding="utf-8")
        os.replace(aside, path)

    def _complete(self, upload_id: str, about: _About) -> Upload:
        blob = self._files.adopt_blob(self._root / upload_id / "content")
        done = about.model_copy(update={"blob": blob.id})
        self._write(upload_id, done)
        return self._upload(upload_id, done)

    @staticmethod
    def _settle(file: IO[bytes], back_to: int | None) -> None:
        with disk_errors():
            if back_to is not None:
                file.truncate(back_to)
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def _locked(self, upload_id: str) -> Iterator[IO[bytes]]:
        """The content, to be added to by nobody else. Raises `Locked` where somebody is."""
        try:
            file = (self._root / upload_id / "content").open("ab")
        except FileNotFoundError:
            file = (self._root / upload_id / "about.json").open("ab")  # complete: nothing is written to it
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Locked("another request is adding to this upload; wait until it has ended") from None
            yield file
