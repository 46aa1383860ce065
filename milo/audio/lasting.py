"""Decoding many files of one set apart from the trainer: a confined child for each thread, asked again and again.

A training decodes every file of its set in every epoch, so a fresh child for each (`milo.audio.sandbox`) would cost
more than small files do. The files of a set belong to one job; what one of them does to its child ends the use of that
file alone, and the next one gets a new child. Limits of memory and CPU time are those of uploads.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
from functools import lru_cache
from typing import Any, BinaryIO

import numpy as np

from milo.audio.mixdown import Pcm
from milo.audio.sandbox import STALL_S, DecoderProcess, cause_of_death, descriptor_of, messages_of
from milo.errors import MiloError
from milo.settings import Settings

BLOCK_S = 30.0
FILES_EACH = 1000
"""A child is replaced after so many."""
Answer = tuple[list[Pcm], Any]
"""Blocks of int16 at 16 kHz, and a document."""


class LastingDecoder:
    """Decodes for any number of threads."""

    def __init__(self, memory_bytes: int, cpu_s: float, stall_s: float = STALL_S) -> None:
        """As `DecoderProcess`."""
        self._process = DecoderProcess(memory_bytes, cpu_s, stall_s)
        self._lock = threading.Lock()
        self._mine = threading.local()

    def decode(self, file: BinaryIO, max_s: float) -> Pcm:
        """All of a recording: int16, mono, 16 kHz. Raises as `DecoderProcess.stream` does."""
        blocks, _ = self._ask(file, {"max_s": max_s, "block_s": BLOCK_S, "track": None, "channel": None})
        return np.concatenate(blocks)

    def run(self, work: str, file: BinaryIO, limit_s: float, **how: Any) -> Answer:
        """What `module:function` yields and returns there, called with the file and `how`. `limit_s`: of
        audio, by which its time is bounded."""
        return self._ask(file, {"work": work, "max_s": limit_s, "how": how})

    def close(self) -> None:
        self._process.close()

    def _ask(self, file: BinaryIO, request: dict[str, Any]) -> Answer:
        with descriptor_of(file) as descriptor:
            child = self._child()
            try:
                answer = child.ask(descriptor, request, self._process.stall_s)
            except _Ended:
                raise cause_of_death(self._end(child), self._process.cpu_s) from None
            except BaseException:  # silent, or talking nonsense, or not wanted any more
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGKILL)
                self._end(child)
                raise
        if isinstance(answer, MiloError):
            raise answer
        return answer

    def _child(self) -> _Child:
        child: _Child | None = getattr(self._mine, "child", None)
        if child and child.files < FILES_EACH:
            return child
        if child:
            self._end(child)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        out, pipe = os.pipe()
        try:
            with self._lock:
                pid = self._process.begin(theirs.fileno(), pipe, {"lasting": True})
        except BaseException:
            os.close(out)
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(pipe)
        self._mine.child = child = _Child(pid, ours, open(out, "rb", buffering=0))  # noqa: SIM115  # `_end` closes it
        return child

    def _end(self, child: _Child) -> int:
        """How it ended: its exit code, or minus the number of the signal. One whose socket is closed ends."""
        self._mine.child = None
        child.close()
        with self._lock:
            return self._process.status_of(child.pid)


class _Ended(Exception):
    """The child is gone in the middle of an answer."""


class _Child:
    """The process of one thread. It ends when its socket is closed, as it is when the thread is no more."""

    def __init__(self, pid: int, control: socket.socket, out: BinaryIO) -> None:
        self.pid, self._control, self._out = pid, control, out
        self.files = 0

    def ask(self, descriptor: int, request: dict[str, Any], stall_s: float) -> Answer | MiloError:
        """What it answers, a refusal of the file too: then the child goes on."""
        self.files += 1
        blocks: list[Pcm] = []
        try:
            socket.send_fds(self._control, [json.dumps(request).encode()], [descriptor])
        except OSError:
            raise _Ended from None
        for letter, content in messages_of(self._out, BLOCK_S, stall_s):
            if letter == b"B":
                blocks.append(np.frombuffer(content, "<i2").astype(np.int16, copy=False))
            elif letter == b"E":
                return blocks, json.loads(content)
            elif letter == b"X":
                return MiloError.from_problem(json.loads(content))
        raise _Ended

    def close(self) -> None:
        self._control.close()
        self._out.close()


def lasting_of(settings: Settings) -> LastingDecoder:
    """The one of this process."""
    return _shared(settings.decode_memory_bytes, settings.decode_cpu_s)


_shared = lru_cache(maxsize=1)(LastingDecoder)
