"""One run over an archive: the calling thread polls the batches, writes what is finished and tells its caller.

`feed.py` does the first half. Memory is bounded, whatever the number of files.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milo.client import Milo
from milo.client.folder.inputs import Input
from milo.client.folder.manifest import Manifest
from milo.client.folder.upload import CHUNKS, Chunk, Feeder, FileResult, Ready, write
from milo.client.views import Job
from milo.errors import MiloError

POLL_S = (0.1, 1.0)
STOP_S = 10


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
        self._feeder = Feeder(milo, inputs, manifest, options, name, roots, force)
        self._on_file, self._on_tick = on_file, on_tick
        self._chunks: list[Chunk] = []
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
        thread = threading.Thread(target=self._feeder.feed, args=(names,), name="feeder", daemon=True)
        thread.start()
        try:
            self._collect_all(thread)
        except BaseException:
            self._cancel()
            raise
        finally:
            self._manifest.save()
        return self.snapshot

    def _cancel(self) -> None:
        feeder = self._feeder
        feeder.stop.set()
        feeder.slots.release(CHUNKS)
        feeder.posting.acquire(timeout=STOP_S)  # a batch that is being queued just now is one to cancel
        for chunk in [*self._chunks, *(one for one in feeder.fed if isinstance(one, Chunk))]:
            with suppress(MiloError):
                self._milo.http.send("DELETE", f"/batches/{chunk.handle.id}", patience_s=0, timeout_s=5)

    def _collect_all(self, thread: threading.Thread) -> None:
        pause_s = POLL_S[0]
        while True:
            feeding = thread.is_alive()
            moved = self._take_fed()
            for chunk in list(self._chunks):
                moved |= self._collect(chunk)
            if self._feeder.error:
                raise self._feeder.error
            self._tick()
            if not feeding and not self._chunks and not self._feeder.fed:
                return
            pause_s = POLL_S[0] if moved else min(POLL_S[1], pause_s * 1.5)
            self._feeder.stop.wait(pause_s)

    def _take_fed(self) -> bool:
        moved = False
        while self._feeder.fed:
            fed = self._feeder.fed.popleft()
            moved = True
            if isinstance(fed, FileResult):
                self._ended(fed)
            else:
                self._started_at = self._started_at or time.monotonic()
                self._chunks.append(fed)
        return moved

    def _collect(self, chunk: Chunk) -> bool:
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
            self._feeder.slots.release()
        return True

    def _finish(self, ready: Ready, job: Job) -> None:
        if job.state != "succeeded":
            cancelled = {"detail": "it was cancelled on the server", "code": "cancelled", "status": 409}
            self._ended(FileResult(ready.input, "failed", error=job.error or cancelled))
            return
        try:
            self._ended(write(self._manifest, ready, self._milo.transcript(job), job.id, "done"))
        except OSError as error:
            problem = MiloError(f"its output can't be written: {error.strerror}", code="file_error")
            self._ended(FileResult(ready.input, "failed", error=problem.problem()))

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
