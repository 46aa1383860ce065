"""A chat model's own template, rendered in a process apart: it may loop for ever, or write three billion letters.

The sandbox of Jinja keeps a template from this machine's files; it limits neither time nor memory.
"""

from __future__ import annotations

import json
import os
import resource
import select
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import Any

from milo.errors import ModelUnusable

RENDER_S = 30.0
"""Wall time for one text; it takes some milliseconds."""
START_S = 60.0
MEMORY_BYTES = 256 * 2**20
CPU_S = 5
"""More computing than this for one text ends the process, too."""


class TemplateFailed(Exception):
    """The template says no, or fails: in its words."""


class ChatTemplate:
    """One template. The process starts with it, and again after it was ended; `close` ends it. Thread-safe."""

    def __init__(self, template: str) -> None:
        """Raises `ModelUnusable` for a template that can't be read, or that does not end even without a message."""
        self._template = template
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        try:
            with self._lock:
                self._start()
        except TemplateFailed as error:
            self.close()
            raise ModelUnusable(f"its chat template can't be read: {error}", code="bad_gguf") from None

    def render(self, **variables: Any) -> str:
        """The text. Raises `TemplateFailed` with the template's own objection, `ModelUnusable` when it has no end."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._start()
            return self._ask(variables, RENDER_S)

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _start(self) -> None:
        env = {name: os.environ[name] for name in ("PATH", "LANG", "TZ", "LD_LIBRARY_PATH") if name in os.environ}
        env["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)
        command = [sys.executable, "-m", "milo.engines.chat.template_child"]
        self._process = subprocess.Popen(
            command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        with suppress(ProcessLookupError):
            resource.prlimit(self._process.pid, resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
            resource.prlimit(self._process.pid, resource.RLIMIT_CORE, (0, 0))
        self._ask({"template": self._template}, START_S)

    def _ask(self, request: dict[str, Any], limit_s: float) -> str:
        assert self._process and self._process.stdin and self._process.stdout
        self._allow_cpu()
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            answer = self._answer(self._process.stdout.fileno(), limit_s)
        except (OSError, ValueError):
            answer = None
        if answer is None:
            self._end()
            raise ModelUnusable("its chat template has no end, or takes all memory", code="bad_gguf")
        if "error" in answer:
            raise TemplateFailed(answer["error"])
        return str(answer["text"])

    def _allow_cpu(self) -> None:
        """`CPU_S` more than it has used; the start counts as one text."""
        assert self._process
        with suppress(OSError, ValueError):
            with open(f"/proc/{self._process.pid}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
            used_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            most_s = int(used_s) + CPU_S + 1
            resource.prlimit(self._process.pid, resource.RLIMIT_CPU, (most_s, resource.RLIM_INFINITY))

    def _answer(self, pipe: int, limit_s: float) -> dict[str, Any] | None:
        """The next line; None when the process ends, or says nothing for too long."""
        content, deadline = b"", time.monotonic() + limit_s
        while not content.endswith(b"\n"):
            ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
            part = os.read(pipe, 1 << 16) if ready else b""
            if not part:
                return None
            content += part
        answer: dict[str, Any] = json.loads(content)
        return answer

    def _end(self) -> None:
        if self._process:
            self._process.kill()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe:
                    with suppress(OSError):
                        pipe.close()
            self._process.wait()
            self._process = None
