"""A stack for one command: started on free ports for as long as the command runs, and gone with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from milo.errors import Unavailable
from milo.settings import Settings
from milo.stack.ports import free_port
from milo.stack.reaper import Reaper
from milo.stack.up import environment

STOP_S = 45
TRIES = 3


@contextmanager
def own_stack(
    settings: Settings, roots: Sequence[Path] = (), without: Sequence[str] = ("flower", "status")
) -> Iterator[str]:
    """The URL of a stack on the home of `settings`, with a Redis of its own, whose server may read below `roots`.

    Raises `Unavailable` with the reason when it does not come up.
    """
    with tempfile.TemporaryFile() as complaints:
        for attempt in range(TRIES):
            reaper = Reaper()
            process = _start(settings, roots, without, complaints)
            reaper.watch(process.pid, patience_s=STOP_S)
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                if line:
                    yield str(json.loads(line)["url"])
                    return
            finally:
                _end(process)
                reaper.forget(process.pid)
                reaper.close()
            complaints.seek(0)
            reason = complaints.read().decode("utf-8", "replace").strip().removeprefix("milo: ")
            if "taken" not in reason or attempt == TRIES - 1:  # another program was quicker on a free port
                raise Unavailable(f"Milo did not start: {reason or 'it said nothing'}", code="no_stack")


def _start(settings: Settings, roots: Sequence[Path], without: Sequence[str], complaints: Any) -> subprocess.Popen[str]:
    readable = [*settings.audio_roots, *(str(root) for root in roots if "," not in str(root))]
    own = {
        "MILO_HOST": "127.0.0.1",
        "MILO_PORT": str(free_port()),
        "MILO_REDIS_PORT": str(free_port()),
        "MILO_FLOWER_PORT": str(free_port()),
        "MILO_STATUS_HOST": "127.0.0.1",
        "MILO_STATUS_PORT": str(free_port()),
        "MILO_REDIS_URL": "",
        "MILO_AUDIO_ROOTS": ",".join(readable),
    }
    command = [sys.executable, "-m", "milo.cli", "up", "--json", "--quiet", "--without", ",".join(without)]
    return subprocess.Popen(
        command,
        env={**os.environ, **environment(settings), **own},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=complaints,
        text=True,
        start_new_session=True,
    )


def _end(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    finally:
        if process.stdout:
            process.stdout.close()
