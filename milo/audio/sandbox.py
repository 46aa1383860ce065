"""Decoding in a process apart, so that no file can hurt the worker: a crash, a hang or a bomb ends one job only.

`DecoderProcess.stream` is `audio.stream`, with the work done by a child of `milo/audio/sandbox_child.py`.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from milo.audio.media import AudioInfo, open_binary
from milo.audio.mixdown import SAMPLE_RATE_HZ, Pcm
from milo.audio.reading import AudioStream
from milo.audio.sandbox_child import HEAD
from milo.audio.timeline import Faults
from milo.errors import BadMedia, EngineError, MiloError
from milo.settings import Settings

STALL_S = 300.0
"""A child that gives nothing for this long (a dead disk, a machine that swaps) is given up; the job is tried again."""
START_S = 60.0
_JSON_BYTES = 64 * 1024
_KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "MILO_HOME")
"""All of the environment that the process gets: no key and no password is among it."""
_CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE)


class DecoderProcess:
    """The process that forks decoders; started at the first file, and again when it is gone. For one thread."""

    def __init__(self, memory_bytes: int, cpu_s: float, stall_s: float = STALL_S) -> None:
        """`memory_bytes` beyond what the decoder itself takes; `cpu_s`: CPU seconds that one block may take."""
        self.stall_s = stall_s
        self.cpu_s = cpu_s
        self._limits = {"memory_bytes": memory_bytes, "cpu_s": cpu_s}
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._running: set[int] = set()
        self._ended: dict[int, int] = {}
        """Wait status of each child that ended and was not asked about."""

    def stream(
        self,
        source: Path | BinaryIO,
        *,
        max_s: float,
        block_s: float = 30.0,
        track: int | None = None,
        channel: int | None = None,
    ) -> AudioStream:
        """As `audio.stream`. Raises also `BadMedia` with code decode_limit or decoder_crashed, and `EngineError` with
        code decoder_lost, which another attempt may mend."""
        return _Apart(self, source, max_s=max_s, block_s=block_s, track=track, channel=channel)

    def close(self) -> None:
        """End the process and what it still decodes."""
        if self._control:
            self._control.close()
        if self._process:
            self._process.kill()
            self._process.wait()
        self._control = self._process = None
        self._ended |= dict.fromkeys(self._running, int(signal.SIGKILL))  # a child dies with its parent
        self._running.clear()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def begin(self, source: int, pipe: int, request: dict[str, Any]) -> int:
        """Have the file behind the descriptor `source` decoded into `pipe`. Returns the id of the child."""
        content = json.dumps(request | self._limits).encode()
        for last in (False, True):
            if self._control is None:
                self._start()
            assert self._control is not None
            try:
                socket.send_fds(self._control, [content], [source, pipe])
                child = int(self._hear("started", START_S)["started"])
                self._running.add(child)
                return child
            except (OSError, EngineError):
                self.close()
                if last:
                    raise
        raise AssertionError

    def status_of(self, child: int) -> int:
        """How a child ended: its exit code, or minus the number of the signal. Waits for it."""
        while child not in self._ended:
            try:
                self._hear("ended", START_S)
            except (OSError, EngineError):
                self.close()
        self._running.discard(child)
        return os.waitstatus_to_exitcode(self._ended.pop(child))

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        env = {name: os.environ[name] for name in _KEPT if name in os.environ}
        env |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
        env["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)
        command = [sys.executable, "-m", "milo.audio.sandbox_child", str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
        self._control = ours

    def _hear(self, wanted: str, timeout_s: float) -> dict[str, Any]:
        """The next message with that field. Ends of children are noted as they come."""
        assert self._control is not None
        deadline = time.monotonic() + timeout_s
        while True:
            self._control.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                content = self._control.recv(_JSON_BYTES)
            except TimeoutError:
                content = b""
            if not content:
                raise EngineError("the process that decodes audio ended", code="decoder_lost")
            message: dict[str, Any] = json.loads(content)
            if "ended" in message:
                self._ended[message["ended"]] = message["status"]
            if wanted in message:
                return message


def decoder_of(settings: Settings) -> DecoderProcess:
    """The one of this worker child."""
    return _shared(settings.decode_memory_bytes, settings.decode_cpu_s)


_shared = lru_cache(maxsize=1)(DecoderProcess)


class _Apart(AudioStream):
    """An `AudioStream` whose blocks come from another process."""

    def __init__(self, process: DecoderProcess, source: Path | BinaryIO, **how: Any) -> None:
        self._process, self._how = process, how
        super().__init__(source, **how)

    def _run(self) -> Generator[Pcm, None, None]:
        with descriptor_of(self._source) as source:
            out, pipe = os.pipe()
            try:
                child = self._process.begin(source, pipe, self._how)
            except BaseException:
                os.close(out)
                raise
            finally:
                os.close(pipe)
        with open(out, "rb", buffering=0) as file:
            yield from self._blocks_of(child, file)

    def _blocks_of(self, child: int, out: BinaryIO) -> Generator[Pcm, None, None]:
        complete, stuck = False, True
        try:
            for letter, content in self._messages(out):
                if letter == b"B":
                    yield np.frombuffer(content, "<i2").astype(np.int16, copy=False)
                    continue
                complete = letter in (b"E", b"X")
                stuck = not complete
                self._take(letter, content)
            stuck = False
        finally:
            if stuck:  # or not wanted any more
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            status = self._process.status_of(child)
        if not complete:
            raise cause_of_death(status, self._process.cpu_s)

    def _take(self, letter: bytes, content: bytes) -> None:
        document = json.loads(content)
        if letter == b"I":
            self.info = AudioInfo(**document)
        elif letter == b"E":
            self.faults, self.truncated = Faults(**document["faults"]), bool(document["truncated"])
            self.channels = int(document["channels"])
        else:
            raise MiloError.from_problem(document)

    def _messages(self, out: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
        return messages_of(out, self._how["block_s"], self._process.stall_s)


def messages_of(out: BinaryIO, block_s: float, stall_s: float) -> Iterator[tuple[bytes, bytes]]:
    """Letter and content of what a child says, until it ends. Raises `EngineError` for silence and nonsense."""
    largest = max(_JSON_BYTES, 2 * round(block_s * SAMPLE_RATE_HZ))
    while head := _read(out, HEAD.size, stall_s):
        letter, size = HEAD.unpack(head)
        if letter not in (b"I", b"B", b"E", b"X") or size > largest or (letter == b"B" and size % 2):
            raise EngineError("the process that decodes audio talks nonsense", code="decoder_lost")
        content = _read(out, size, stall_s)
        if len(content) < size:
            return
        yield letter, content


def _read(out: BinaryIO, size: int, stall_s: float) -> bytes:
    """`size` bytes, fewer only when the child has ended."""
    content = b""
    while len(content) < size:
        ready, _, _ = select.select([out], [], [], stall_s)
        if not ready:
            raise EngineError(f"the decoder gave nothing for {stall_s:g} s", code="decoder_lost")
        part = out.read(size - len(content))
        if not part:
            break
        content += part
    return content


def cause_of_death(status: int, cpu_s: float) -> MiloError:
    """Why a child ended without a word."""
    name = signal.Signals(-status).name if status < 0 else f"exit code {status}"
    if status == -signal.SIGXCPU:
        detail = f"Decoding was stopped: {cpu_s:g} s of computing gave no 30 s of audio. Re-encode the file."
        return BadMedia(detail, code="decode_limit")
    if -status in _CRASHES:
        return BadMedia(f"The decoder crashed on this file ({name}). Re-encode it.", code="decoder_crashed")
    return EngineError(f"the process that decodes audio ended ({name})", code="decoder_lost")


@contextmanager
def descriptor_of(source: Path | BinaryIO) -> Iterator[int]:
    """A file descriptor of the recording. What is no file on this machine is copied to one without a name."""
    with open_binary(source) as file:
        try:
            descriptor = file.fileno()
            os.lseek(descriptor, file.tell(), os.SEEK_SET)
        except OSError:  # io.UnsupportedOperation is one: a store far away, or memory
            with tempfile.TemporaryFile() as copy:
                shutil.copyfileobj(file, copy, 1 << 20)
                copy.seek(0)
                yield copy.fileno()
        else:
            yield descriptor
