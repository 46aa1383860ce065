"""The process that decodes files, apart from the worker: `python -m milo.audio.sandbox_child FD`, FD a Unix socket.

It imports the decoder once and forks a fresh child for each file: what a file does to one child touches no other file.
A lasting child (`milo/audio/lasting.py`) is asked for one file of a set after the other. A child reads the descriptors
that it was sent, writes blocks to a pipe, and lives under limits of memory and CPU time; it holds no key, no database
and no other file. `milo/audio/sandbox.py` is the other side.

A message on the pipe is a letter, a length (little endian, 4 bytes) and as many bytes: `I` the header's information
(JSON), `B` a block (int16, little endian), `E` the end (JSON: faults, truncated, channels), `X` a problem document.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import resource
import signal
import socket
import struct
import sys
from dataclasses import asdict
from typing import Any, BinaryIO

from milo.audio.media import audio_decoders
from milo.audio.reading import AudioStream
from milo.errors import BadMedia, EngineError, MiloError

HEAD = struct.Struct("<cI")
REQUEST_BYTES = 4096
CPU_SHARE = 0.2
"""CPU seconds that a second of audio may take over a whole recording; `cpu_s` comes on top."""
OPENING_CPU_S = 10.0
"""CPU seconds from opening a file to its first block. FFmpeg keeps tags in lists that it searches for each further one:
200,000 of them took a minute."""
_PDEATHSIG, _NO_NEW_PRIVILEGES = 1, 38


def serve(control: socket.socket) -> None:
    """Fork a child for each request until the worker is gone. Tells the worker each child's id, and how it ended."""

    def reap(_number: int, _frame: Any) -> None:
        with contextlib.suppress(ChildProcessError, OSError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                control.send(json.dumps({"ended": ended[0], "status": ended[1]}).encode())

    audio_decoders()  # a tenth of a second that no child need spend again
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the worker's; it closes the socket when it is done
    signal.signal(signal.SIGCHLD, reap)
    while True:
        request, descriptors, _, _ = socket.recv_fds(control, REQUEST_BYTES, 2)
        if not request:
            return
        source, pipe = descriptors
        child = os.fork()
        if not child:
            _child(control, json.loads(request), source, pipe)
        os.close(source)
        os.close(pipe)
        control.send(json.dumps({"started": child}).encode())


def _child(control: socket.socket, request: dict[str, Any], source: int, pipe: int) -> None:
    """Decode one file and end the process. Never returns."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        control.close()
        _confine(request["memory_bytes"])
        with os.fdopen(pipe, "wb") as out:
            if request.get("lasting"):
                _answer_all(socket.socket(fileno=source), out, request)
            else:
                with os.fdopen(source, "rb") as file:
                    _answer(file, out, request)
        code = 0
    except BrokenPipeError:
        code = 0  # nobody wants the rest
    finally:
        os._exit(code)


def _answer_all(control: socket.socket, out: BinaryIO, limits: dict[str, Any]) -> None:
    """One file after the other, until nobody asks any more."""
    sys.dont_write_bytecode = True
    while True:
        request, descriptors, _, _ = socket.recv_fds(control, REQUEST_BYTES, 1)
        if not request:
            return
        with os.fdopen(descriptors[0], "rb") as file:
            _answer(file, out, limits | json.loads(request))


def _confine(memory_bytes: int) -> None:
    with open("/proc/self/statm", "rb") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    for which, limit in (
        (resource.RLIMIT_AS, used + memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(which, (limit, limit))
    libc = ctypes.CDLL(None)
    libc.prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)


class _CpuLimit:
    """SIGXCPU after `cpu_s` CPU seconds without a block, and when the whole recording has had its share."""

    def __init__(self, cpu_s: float, max_s: float, lasting: bool) -> None:
        self._opening, self._each, self._all = (
            min(cpu_s, OPENING_CPU_S),
            cpu_s,
            _cpu_used_s() * lasting + cpu_s + max_s * CPU_SHARE,
        )
        self._hard = resource.RLIM_INFINITY if lasting else round(self._all) + 5  # what is lowered can't be raised

    def wind_up(self) -> None:
        """Before the file is opened, and after each block."""
        soft = max(1, round(min(_cpu_used_s() + (self._opening or self._each), self._all)))
        self._opening = 0.0
        resource.setrlimit(resource.RLIMIT_CPU, (soft, self._hard))


def _cpu_used_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _answer(file: BinaryIO, out: BinaryIO, request: dict[str, Any]) -> None:
    limit = _CpuLimit(request["cpu_s"], request["max_s"], bool(request.get("lasting")))
    limit.wind_up()
    try:
        if work := request.get("work"):
            _do(work, file, out, request, limit)
        else:
            _decode(file, out, request, limit)
    except MemoryError:
        megabytes = request["memory_bytes"] // 10**6
        detail = f"Decoding the file takes more than {megabytes} MB of memory (MILO_DECODE_MEMORY_BYTES). Re-encode it."
        _fail(out, BadMedia(detail, code="decode_limit"))
    except MiloError as error:
        _fail(out, error)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        _fail(out, EngineError(f"The recording can't be read: {error}", code="unreadable"))
    except Exception as error:
        _fail(out, EngineError(f"{type(error).__name__}: {error}", code="internal_error"))


def _decode(file: BinaryIO, out: BinaryIO, request: dict[str, Any], limit: _CpuLimit) -> None:
    how = {name: request[name] for name in ("max_s", "block_s", "track", "channel")}
    audio = AudioStream(file, **how)
    told = False
    for block in audio:
        if not told and audio.info:
            _send(out, b"I", json.dumps(asdict(audio.info)).encode())
            told = True
        _send(out, b"B", block.astype("<i2", copy=False).tobytes())
        limit.wind_up()
    end = {"faults": asdict(audio.faults), "truncated": audio.truncated, "channels": audio.channels}
    _send(out, b"E", json.dumps(end).encode())


def _do(work: str, file: BinaryIO, out: BinaryIO, request: dict[str, Any], limit: _CpuLimit) -> None:
    """Other work on a file: `module:function`, a generator of blocks that returns a document."""
    module, _, name = work.partition(":")
    blocks = getattr(importlib.import_module(module), name)(file, **request["how"])
    while True:
        try:
            block = next(blocks)
        except StopIteration as end:
            _send(out, b"E", json.dumps(end.value).encode())
            return
        _send(out, b"B", block.astype("<i2", copy=False).tobytes())
        limit.wind_up()


def _fail(out: BinaryIO, error: MiloError) -> None:
    _send(out, b"X", json.dumps(error.problem()).encode())


def _send(out: BinaryIO, letter: bytes, content: bytes) -> None:
    out.write(HEAD.pack(letter, len(content)))
    out.write(content)
    out.flush()


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
