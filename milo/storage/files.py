"""Blobs in, results out: whole files, written once, over fsspec. A folder today, `s3://` for several machines.

    blobs/ab/<sha256>             uploaded audio, named by its content
    results/<job>/<fence>.json    what a job made
    work/<job>/…                  what a job needs between its stages and slices; gone when the job ends

A file appears under its name only when it is complete: written to a temporary name, fsynced, renamed.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

import fsspec

from milo.errors import Invalid, NotFound, TooLarge, Unavailable
from milo.jobs import AudioSource
from milo.settings import Settings
from milo.storage.roots import allowed_path, is_url, open_below
from milo.storage.secrets import private_home


@dataclass(frozen=True)
class Blob:
    id: str
    """sha256 of the content, hex."""
    size_bytes: int


class Files:
    """The file store of an installation."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        try:
            self.fs, self.root = fsspec.core.url_to_fs(settings.storage_url)
        except (ValueError, ImportError) as error:
            raise Invalid(f"MILO_FILES_URL can't be used: {error}", code="bad_files_url") from None
        self.is_local = "file" in (self.fs.protocol if isinstance(self.fs.protocol, tuple) else (self.fs.protocol,))
        private_home(settings)

    def _key(self, *parts: str) -> str:
        return "/".join((str(self.root).rstrip("/"), *parts))

    def _blob_key(self, blob_id: str) -> str:
        return self._key("blobs", blob_id[:2], blob_id)

    # --- blobs ---

    def has_blob(self, blob_id: str) -> bool:
        return bool(self.fs.exists(self._blob_key(blob_id)))

    def blob_size(self, blob_id: str) -> int | None:
        """Bytes of a stored blob; None if it is not stored."""
        try:
            return int(self.fs.size(self._blob_key(blob_id)))
        except FileNotFoundError:
            return None

    def put_blob(self, source: BinaryIO | Iterable[bytes], limit_bytes: int | None = None) -> Blob:
        """Store an upload. Raises `TooLarge` as soon as it passes `limit_bytes`; nothing is left behind then."""
        with self._incoming(limit_bytes) as sink:
            chunks = iter(lambda: source.read(1 << 20), b"") if hasattr(source, "read") else source
            for chunk in chunks:
                sink.write(chunk)
        return self._keep(sink)

    async def receive_blob(self, chunks: AsyncIterator[bytes], limit_bytes: int | None = None) -> Blob:
        """The same for a request body that arrives in pieces."""
        with self._incoming(limit_bytes) as sink:
            async for chunk in chunks:
                sink.write(chunk)
            await asyncio.to_thread(sink.sync)
        return await asyncio.to_thread(self._keep, sink)

    @contextmanager
    def _incoming(self, limit_bytes: int | None, synced: bool = True) -> Any:
        folder = self.settings.home / "incoming"
        folder.mkdir(parents=True, exist_ok=True)
        with disk_errors(), tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            sink = _Sink(file, Path(file.name), limit_bytes)
            try:
                yield sink
                sink.flush()
                if synced:
                    sink.sync()
            except BaseException:
                sink.path.unlink(missing_ok=True)
                raise

    def adopt_blob(self, path: Path) -> Blob:
        """The same for a finished file of this machine, which is gone then."""
        digest = hashlib.sha256()
        with path.open("rb") as file:
            for chunk in iter(lambda: file.read(1 << 20), b""):
                digest.update(chunk)
            os.fsync(file.fileno())
            blob = Blob(digest.hexdigest(), file.tell())
        self._adopt(path, self._blob_key(blob.id))
        path.unlink(missing_ok=True)
        return blob

    def _keep(self, sink: _Sink) -> Blob:
        blob = Blob(sink.digest.hexdigest(), sink.size_bytes)
        try:
            self._adopt(sink.path, self._blob_key(blob.id))  # one that was there is now young again, so it is kept
        finally:
            sink.path.unlink(missing_ok=True)
        return blob

    def _adopt(self, path: Path, key: str, synced: bool = True) -> None:
        """Move a finished local file into the store."""
        with disk_errors():
            if self.is_local:
                Path(key).parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, key)
                if synced:
                    _sync(Path(key).parent)
            else:
                self.fs.put_file(str(path), key)

    # --- audio of a job ---

    def allowed_path(self, path: str) -> str:
        """As `roots.allowed_path`, with the roots of the settings."""
        return allowed_path(path, self.settings)

    @contextmanager
    def open_audio(self, source: AudioSource) -> Any:
        """The recording as a seekable binary file."""
        if source.blob:
            if not self.has_blob(source.blob):
                raise NotFound(f"the audio {source.blob} is not stored any more; send it again", code="unknown_blob")
            with self.fs.open(self._blob_key(source.blob), "rb") as file:
                yield file
            return
        path = self.allowed_path(source.path or "")
        with fsspec.open(path, "rb") if is_url(path) else open_below(path, self.settings) as file:
            yield file

    # --- results ---

    def write_result(
        self, job_id: str, fence: int, content: bytes, suffix: str = "json", *, synced: bool = True
    ) -> str:
        """Store a result; returns its name. The fence in it keeps a late worker from overwriting the valid one.

        Not `synced`: it can be read, and `sync_result` has to follow before a row names it."""
        return self.put_result(job_id, f"{fence}.{suffix}", content, synced=synced)

    def put_result(self, job_id: str, name: str, content: bytes, *, synced: bool = True) -> str:
        """Store something beside the results of a job, under a name that says what it is. Replaces an older one."""
        name = f"results/{job_id}/{name}"
        with self._incoming(None, synced) as sink:
            sink.write(content)
        self._adopt(sink.path, self._key(name), synced)
        return name

    def sync_result(self, name: str) -> None:
        """A result that was written without it survives a power cut from here on. Raises `Unavailable`."""
        if self.is_local:
            path = Path(self._key(name))
            with disk_errors():
                _sync(path)
                _sync(path.parent)

    def move_result(self, job_id: str, name: str, path: Path) -> str:
        """The same with a finished local file, which is gone then."""
        name = f"results/{job_id}/{name}"
        with path.open("rb") as file:
            os.fsync(file.fileno())
        self._adopt(path, self._key(name))
        path.unlink(missing_ok=True)
        return name

    @contextmanager
    def open_result(self, name: str) -> Any:
        """A result as a seekable binary file. Raises `NotFound` as `read_result` does."""
        try:
            file = self.fs.open(self._key(name), "rb")
        except FileNotFoundError:
            raise NotFound("the result has been cleaned away", code="result_gone") from None
        with file:
            yield file

    def read_result(self, name: str) -> bytes:
        try:
            return bytes(self.fs.cat_file(self._key(name)))
        except FileNotFoundError:
            raise NotFound("the result has been cleaned away", code="result_gone") from None

    # --- between stages ---

    def _work_path(self, *parts: str) -> Path:
        return (Path(self.root) if self.is_local else self.settings.home).joinpath("work", *parts)

    def work_folder(self, job_id: str) -> Path:
        """A local folder for what a job keeps between stages and slices."""
        folder = self._work_path(job_id)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def work_in_progress(self) -> list[str]:
        """Ids of jobs that have a work folder on this machine."""
        folder = self._work_path()
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []

    def share_work(self, job_id: str) -> None:
        """Make the work folder visible to the other machines. Nothing to do when the store is this disk."""
        if not self.is_local:
            self.fs.put(f"{self.work_folder(job_id)}/", self._key("work", job_id) + "/", recursive=True)

    def fetch_work(self, job_id: str) -> Path:
        """The work folder with what another machine shared in it."""
        folder = self.work_folder(job_id)
        if not self.is_local and not any(folder.iterdir()) and self.fs.exists(self._key("work", job_id)):
            self.fs.get(self._key("work", job_id) + "/", f"{folder}/", recursive=True)
        return folder

    def drop_work(self, job_id: str) -> None:
        if (folder := self._work_path(job_id)).exists():
            shutil.rmtree(folder, ignore_errors=True)
        if not self.is_local and self.fs.exists(self._key("work", job_id)):
            self.fs.rm(self._key("work", job_id), recursive=True)

    def drop_results(self, job_id: str) -> None:
        if self.fs.exists(self._key("results", job_id)):
            self.fs.rm(self._key("results", job_id), recursive=True)

    def blobs_before(self, before: float) -> list[str]:
        """Ids of blobs that were last sent before this time (unix seconds)."""
        found = self.fs.find(self._key("blobs"), detail=True)
        return [key.rsplit("/", 1)[-1] for key in found if self.fs.modified(key).timestamp() < before]

    def drop_blob(self, blob_id: str) -> None:
        if self.has_blob(blob_id):
            self.fs.rm_file(self._blob_key(blob_id))


class _Sink:
    """Counts, hashes and bounds what is written to a temporary file."""

    def __init__(self, file: IO[bytes], path: Path, limit_bytes: int | None) -> None:
        self._file = file
        self.path = path
        self._limit_bytes = limit_bytes
        self.size_bytes = 0
        self.digest = hashlib.sha256()

    def write(self, chunk: bytes) -> None:
        self.size_bytes += len(chunk)
        if self._limit_bytes is not None and self.size_bytes > self._limit_bytes:
            raise TooLarge(f"the upload is larger than {self._limit_bytes} bytes, the most this server takes")
        self.digest.update(chunk)
        self._file.write(chunk)

    def flush(self) -> None:
        self._file.flush()

    def sync(self) -> None:
        self.flush()
        os.fsync(self._file.fileno())


@contextmanager
def disk_errors() -> Any:
    try:
        yield
    except OSError as error:
        raise Unavailable(f"the file store can't be written: {error}", code="storage", retry_after_s=30) from error


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
