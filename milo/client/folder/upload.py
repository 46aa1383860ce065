"""The first half of a run: hash, leave out what is done, send, queue chunks as batches. Runs in threads of its own."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from milo.client import BatchHandle, Milo
from milo.client.folder.inputs import Input
from milo.client.folder.manifest import Manifest, write_whole
from milo.client.sources import sha256_of
from milo.client.views import Batch
from milo.errors import Forbidden, MiloError, NotFound
from milo.transcription.transcript import Transcript, render

CHUNK_SIZES = (8, 24, 64)
"""Files in the first batches; the last size goes on. Small first, so that results come soon."""
CHUNKS = 6
"""Batches on the server at a time."""
UPLOADS = 4
AHEAD = 64
"""Files that are hashed and sent before their chunk is full."""
OURS_TO_STOP = (401, 429, 503)
"""Answers that concern all files and not one."""


@dataclass(frozen=True)
class FileResult:
    """What became of one recording. `error` is a problem document."""

    input: Input
    state: Literal["done", "skipped", "failed"]
    outputs: tuple[Path, ...] = ()
    audio_s: float | None = None
    confidence: float | None = None
    error: dict[str, Any] | None = None


@dataclass
class Ready:
    """A recording that is known and, unless it goes by path, sent."""

    input: Input
    name: str
    stat: os.stat_result
    sha256: str
    item: dict[str, Any]


@dataclass
class Chunk:
    handle: BatchHandle
    files: list[Ready]
    collected: set[int] = field(default_factory=set)


def write(
    manifest: Manifest, ready: Ready, transcript: Transcript, job: str | None, state: Literal["done", "skipped"]
) -> FileResult:
    """All wanted formats of one transcript, and its entry in the manifest."""
    for format in manifest.formats:
        write_whole(manifest.path(ready.name, format), render(transcript, format, manifest.rules))
    about = {"audio_s": round(transcript.duration, 3), "model": transcript.model, "job": job}
    manifest.record(ready.name, ready.sha256, ready.stat, about)
    outputs = tuple(manifest.paths(ready.name))
    return FileResult(ready.input, state, outputs, transcript.duration, transcript.confidence)


class Feeder:
    """Fills `fed` with files that ended early and with chunks that are on the server.

    Who takes a chunk off releases one of `slots` when it has ended.
    """

    def __init__(
        self,
        milo: Milo,
        inputs: Sequence[Input],
        manifest: Manifest,
        options: Mapping[str, Any],
        name: str | None,
        roots: Sequence[Path],
        force: bool,
    ) -> None:
        self._milo, self._inputs, self._manifest = milo, inputs, manifest
        self._options, self._name, self._force = dict(options), name, force
        self._roots = [Path(os.path.realpath(root)) for root in roots]
        self.stop = threading.Event()
        self.slots = threading.Semaphore(CHUNKS)
        self.posting = threading.Lock()
        self.fed: deque[Chunk | FileResult] = deque()
        self.error: BaseException | None = None

    def feed(self, names: Mapping[Input, str]) -> None:
        try:
            with ThreadPoolExecutor(UPLOADS, thread_name_prefix="upload") as pool:
                for ready in self._ready(pool, names):
                    self.slots.acquire()
                    if self.stop.is_set():
                        return
                    self._queue(ready)
        except BaseException as error:
            self.error = error

    def _ready(self, pool: ThreadPoolExecutor, names: Mapping[Input, str]) -> Iterator[list[Ready]]:
        """Chunks of files that still have to be done."""
        chunk: list[Ready] = []
        number = 0
        waiting = iter(self._inputs)
        futures = deque(
            pool.submit(self._prepare, one, names[one]) for _, one in zip(range(AHEAD), waiting, strict=False)
        )
        while futures:
            prepared = futures.popleft().result()
            following = next(waiting, None)
            if following is not None:
                futures.append(pool.submit(self._prepare, following, names[following]))
            if isinstance(prepared, Ready):
                chunk.append(prepared)
            else:
                self.fed.append(prepared)
            if len(chunk) >= CHUNK_SIZES[min(number, len(CHUNK_SIZES) - 1)]:
                yield chunk
                chunk, number = [], number + 1
        if chunk:
            yield chunk

    def _prepare(self, one: Input, name: str) -> Ready | FileResult:
        if self.stop.is_set():
            return FileResult(one, "skipped")
        try:
            stat = one.path.stat()
            manifest = self._manifest
            if not self._force and manifest.is_done(name) and manifest.is_same_file(name, stat):
                return FileResult(one, "skipped", tuple(manifest.paths(name)))
            sha256, _ = sha256_of(one.path)
            if not self._force:
                if manifest.is_done(name, sha256):
                    return FileResult(one, "skipped", tuple(manifest.paths(name)))
                known = manifest.transcript(sha256)
                if known:
                    ready = Ready(one, name, stat, sha256, {})
                    return write(manifest, ready, known[0], known[1].get("job"), "skipped")
            return Ready(one, name, stat, sha256, self._item(one))
        except MiloError as error:
            if error.status in OURS_TO_STOP or isinstance(error, Forbidden):
                raise
            return FileResult(one, "failed", error=error.problem())
        except OSError as error:
            problem = MiloError(f"the file can't be read or its output written: {error.strerror}", code="file_error")
            return FileResult(one, "failed", error=problem.problem())

    def _item(self, one: Input) -> dict[str, Any]:
        name = one.shown.rsplit("/", 1)[-1][:200]
        real = os.path.realpath(one.path)
        if any(Path(real).is_relative_to(root) for root in self._roots) and real.isprintable():
            return {"path": real, "name": name}
        return {"blob": self._milo.upload(one.path), "name": name}

    def _queue(self, files: list[Ready]) -> None:
        """Queue as one batch. When the server refuses it, halve until the file that is to blame stands alone."""
        request: dict[str, Any] = {"kind": "stt", "items": [one.item for one in files], "options": self._options}
        if self._name:
            request["name"] = self._name
        try:
            self._post(request, files)
        except (Forbidden, NotFound) as error:
            by_path = [one for one in files if "path" in one.item]
            if not by_path or error.code not in ("path_not_allowed", "unknown_path"):
                raise
            self._roots = []  # the server sees other files than we do: send them
            for one in by_path:
                one.item = self._item(one.input)
            self._queue(files)
        except MiloError as error:
            if error.status in OURS_TO_STOP or error.status >= 500:
                raise
            if len(files) == 1:
                self.fed.append(FileResult(files[0].input, "failed", error=error.problem()))
                self.slots.release()
                return
            self.slots.release()
            for half in (files[: len(files) // 2], files[len(files) // 2 :]):
                self.slots.acquire()
                if not self.stop.is_set():
                    self._queue(half)

    def _post(self, request: dict[str, Any], files: list[Ready]) -> None:
        with self.posting:
            if not self.stop.is_set():
                batch = Batch.model_validate(self._milo.http.post("/batches", request))
                self.fed.append(Chunk(BatchHandle(self._milo, batch), files))
