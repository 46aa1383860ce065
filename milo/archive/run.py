"""One run over an archive: hash, send, queue in chunks, collect, write. Bounded memory, whatever the number of files.

A feeder thread hashes and uploads (several files at a time) and queues a chunk as one batch; the calling thread polls
the batches, writes what is finished and tells its caller. At most `CHUNKS` batches are on the server at a time.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from milo.archive.inputs import Input
from milo.archive.manifest import Manifest, write_whole
from milo.client import BatchHandle, Milo
from milo.errors import Forbidden, MiloError, NotFound
from milo.sources import sha256_of
from milo.transcript import Transcript, render
from milo.views import Batch, Job

CHUNK_SIZES = (8, 24, 64)
"""Files in the first batches; the last size goes on. Small first, so that results come soon."""
CHUNKS = 6
UPLOADS = 4
POLL_S = (0.1, 1.0)
STOP_S = 10
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
class Snapshot:
    """How far the run is. `done_audio_s` and `audio_s` count recordings that this run transcribed or is at."""

    files: int
    done: int = 0
    skipped: int = 0
    failed: int = 0
    size_bytes: int = 0
    done_bytes: float = 0
    audio_s: float = 0
    """Seconds of audio finished, or done in part."""
    wall_s: float = 0
    """Since the first recording was queued."""

    @property
    def ended(self) -> int:
        return self.done + self.skipped + self.failed


@dataclass
class _Ready:
    """A recording that is known and, unless it goes by path, sent."""

    input: Input
    name: str
    stat: os.stat_result
    sha256: str
    item: dict[str, Any]


@dataclass
class _Chunk:
    handle: BatchHandle
    files: list[_Ready]
    collected: set[int] = field(default_factory=set)


class Run:
    """Transcribe `inputs` into the manifest's folder.

    `roots` are folders whose files the server reads itself. `on_file` hears of every file as it ends, `on_tick` of the
    progress. Both are called in the thread of `run`.
    """

    def __init__(
        self,
        milo: Milo,
        inputs: Sequence[Input],
        manifest: Manifest,
        options: Mapping[str, Any],
        *,
        name: str | None = None,
        roots: Sequence[Path] = (),
        force: bool = False,
        on_file: Callable[[FileResult], None] = lambda result: None,
        on_tick: Callable[[Snapshot], None] = lambda snapshot: None,
    ) -> None:
        self._milo, self._inputs, self._manifest = milo, inputs, manifest
        self._options, self._name, self._force = dict(options), name, force
        self._roots = [Path(os.path.realpath(root)) for root in roots]
        self._on_file, self._on_tick = on_file, on_tick
        self._stop = threading.Event()
        self._slots = threading.Semaphore(CHUNKS)
        self._posting = threading.Lock()
        self._fed: deque[_Chunk | FileResult] = deque()
        self._feeder_error: BaseException | None = None
        self._chunks: list[_Chunk] = []
        self._started_at: float | None = None
        self._bytes_ended = 0
        self._audio_ended_s = 0.0
        """Of the chunks that have ended."""
        self.snapshot = Snapshot(len(inputs))

    def run(self) -> Snapshot:
        """Until every file has ended. On any exception (Ctrl-C too) what is queued on the server is cancelled."""
        self.snapshot.size_bytes = sum(_size(one.path) for one in self._inputs)
        names = self._manifest.reserve(self._inputs)
        self._manifest.save()
        feeder = threading.Thread(target=self._feed, args=(names,), name="feeder", daemon=True)
        feeder.start()
        try:
            self._collect_all(feeder)
        except BaseException:
            self._stop.set()
            self._slots.release(CHUNKS)
            self._cancel()
            raise
        finally:
            self._manifest.save()
        return self.snapshot

    def _cancel(self) -> None:
        self._posting.acquire(timeout=STOP_S)  # a batch that is being queued just now is one to cancel
        for chunk in [*self._chunks, *(one for one in self._fed if isinstance(one, _Chunk))]:
            with suppress(MiloError):
                self._milo.http.send("DELETE", f"/batches/{chunk.handle.id}", patience_s=0, timeout_s=5)

    # --- feeder thread ----------------------------------------------------------------------------------------------

    def _feed(self, names: Mapping[Input, str]) -> None:
        try:
            with ThreadPoolExecutor(UPLOADS, thread_name_prefix="upload") as pool:
                for ready in self._ready(pool, names):
                    self._slots.acquire()
                    if self._stop.is_set():
                        return
                    self._queue(ready)
        except BaseException as error:
            self._feeder_error = error

    def _ready(self, pool: ThreadPoolExecutor, names: Mapping[Input, str]) -> Iterator[list[_Ready]]:
        """Chunks of files that still have to be done."""
        chunk: list[_Ready] = []
        number = 0
        waiting = iter(self._inputs)
        futures = deque(pool.submit(self._prepare, one, names[one]) for one, _ in zip(waiting, range(64), strict=False))
        while futures:
            prepared = futures.popleft().result()
            following = next(waiting, None)
            if following is not None:
                futures.append(pool.submit(self._prepare, following, names[following]))
            if isinstance(prepared, _Ready):
                chunk.append(prepared)
            else:
                self._fed.append(prepared)
            if len(chunk) >= CHUNK_SIZES[min(number, len(CHUNK_SIZES) - 1)]:
                yield chunk
                chunk, number = [], number + 1
        if chunk:
            yield chunk

    def _prepare(self, one: Input, name: str) -> _Ready | FileResult:
        if self._stop.is_set():
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
                    return self._write(_Ready(one, name, stat, sha256, {}), known[0], known[1].get("job"), "skipped")
            return _Ready(one, name, stat, sha256, self._item(one))
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

    def _queue(self, files: list[_Ready]) -> None:
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
                self._fed.append(FileResult(files[0].input, "failed", error=error.problem()))
                self._slots.release()
                return
            self._slots.release()
            for half in (files[: len(files) // 2], files[len(files) // 2 :]):
                self._slots.acquire()
                if not self._stop.is_set():
                    self._queue(half)

    def _post(self, request: dict[str, Any], files: list[_Ready]) -> None:
        with self._posting:
            if not self._stop.is_set():
                batch = Batch.model_validate(self._milo.http.post("/batches", request))
                self._fed.append(_Chunk(BatchHandle(self._milo, batch), files))

    # --- calling thread ---------------------------------------------------------------------------------------------

    def _collect_all(self, feeder: threading.Thread) -> None:
        pause_s = POLL_S[0]
        while True:
            feeding = feeder.is_alive()
            moved = self._take_fed()
            for chunk in list(self._chunks):
                moved |= self._collect(chunk)
            if self._feeder_error:
                raise self._feeder_error
            self._tick()
            if not feeding and not self._chunks and not self._fed:
                return
            pause_s = POLL_S[0] if moved else min(POLL_S[1], pause_s * 1.5)
            self._stop.wait(pause_s)

    def _take_fed(self) -> bool:
        moved = False
        while self._fed:
            fed = self._fed.popleft()
            moved = True
            if isinstance(fed, FileResult):
                self._ended(fed)
            else:
                self._started_at = self._started_at or time.monotonic()
                self._chunks.append(fed)
        return moved

    def _collect(self, chunk: _Chunk) -> bool:
        """Write what has finished since the last look. Whether there was anything."""
        batch = chunk.handle.progress()
        if batch.done <= len(chunk.collected):
            return False
        for job in chunk.handle.jobs():
            if job.final and job.batch_index is not None and job.batch_index not in chunk.collected:
                chunk.collected.add(job.batch_index)
                self._finish(chunk.files[job.batch_index], job)
        if len(chunk.collected) >= batch.total:
            self._chunks.remove(chunk)
            self._audio_ended_s += batch.done_audio_s
            self._slots.release()
        return True

    def _finish(self, ready: _Ready, job: Job) -> None:
        if job.state != "succeeded":
            cancelled = {"detail": "it was cancelled on the server", "code": "cancelled", "status": 409}
            self._ended(FileResult(ready.input, "failed", error=job.error or cancelled))
            return
        try:
            self._ended(self._write(ready, self._milo.transcript(job), job.id, "done"))
        except OSError as error:
            problem = MiloError(f"its output can't be written: {error.strerror}", code="file_error")
            self._ended(FileResult(ready.input, "failed", error=problem.problem()))

    def _write(self, ready: _Ready, transcript: Transcript, job: str | None, state: Any) -> FileResult:
        for format in self._manifest.formats:
            write_whole(self._manifest.path(ready.name, format), render(transcript, format))
        about = {"audio_s": round(transcript.duration, 3), "model": transcript.model, "job": job}
        self._manifest.record(ready.name, ready.sha256, ready.stat, about)
        outputs = tuple(self._manifest.paths(ready.name))
        return FileResult(ready.input, state, outputs, transcript.duration, transcript.confidence)

    def _ended(self, result: FileResult) -> None:
        snapshot = self.snapshot
        snapshot.done += result.state == "done"
        snapshot.skipped += result.state == "skipped"
        snapshot.failed += result.state == "failed"
        self._bytes_ended += _size(result.input.path)
        self._on_file(result)

    def _tick(self) -> None:
        snapshot = self.snapshot
        part_bytes = 0.0
        part_s = self._audio_ended_s
        for chunk in self._chunks:
            batch = chunk.handle.latest
            collected = [one for n, one in enumerate(chunk.files) if n in chunk.collected]
            left = sum(one.stat.st_size for one in chunk.files) - sum(one.stat.st_size for one in collected)
            part_s += batch.done_audio_s
            if batch.audio_s:
                part_bytes += left * min(1.0, batch.done_audio_s / batch.audio_s)
        snapshot.done_bytes = min(snapshot.size_bytes, self._bytes_ended + part_bytes)
        snapshot.audio_s = part_s
        snapshot.wall_s = time.monotonic() - self._started_at if self._started_at else 0
        self._on_tick(snapshot)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
