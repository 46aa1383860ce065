"""The recordings in a folder, and what was left out of it and why. Loads no decoder."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from milo.audio.formats import RECORDING_SUFFIXES

_SHARED_SUFFIXES = frozenset({".ts", ".mts"})
"""MPEG transport streams, and TypeScript."""
_PACKET_BYTES = (188, 192, 204)
_SYNC = 0x47
_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISDIR, "a folder that is called like a recording"),
)


class Found(NamedTuple):
    path: Path
    left_out: str = ""
    """Why it is not taken; empty: it is a recording."""


def walk_recordings(folder: Path) -> Iterator[Found]:
    """Recordings below a folder by their suffix, sorted, and what looks like one and can't be taken.

    Hidden files and folders and other suffixes are passed over without a word. Folders that are links are not entered
    (they may lead in a circle), and said to be.
    """
    unreadable: list[OSError] = []
    for current, names, files in os.walk(folder, onerror=unreadable.append):
        yield from _refused(unreadable)
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in names:
            if os.path.islink(path := Path(current, name)):
                yield Found(path, "a link to a folder; name the folder itself to have it done")
        for name in sorted(files):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in RECORDING_SUFFIXES:
                path = Path(current, name)
                yield Found(path, _why_not(path))
    yield from _refused(unreadable)


def _refused(errors: list[OSError]) -> Iterator[Found]:
    while errors:
        error = errors.pop(0)
        yield Found(Path(str(error.filename)), f"can't be opened: {error.strerror}")


def _why_not(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            return next((what for is_kind, what in _KINDS if is_kind(mode)), "not a file")
        if path.suffix.lower() in _SHARED_SUFFIXES and not _is_transport_stream(path):
            return "text or something else, and no MPEG transport stream"
    except FileNotFoundError:
        return "a link to nothing"
    except PermissionError:
        return ""  # the run says so of the file
    except OSError as error:
        return f"can't be opened: {error.strerror}"
    return ""


def _is_transport_stream(path: Path) -> bool:
    """Whether packets of a usual size begin with the byte that they begin with, from somewhere in the first on."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        head = file.read(5 * max(_PACKET_BYTES))
    for size in _PACKET_BYTES:
        for first in range(min(size, len(head))):
            marks = head[first::size]
            if len(marks) >= 2 and set(marks) == {_SYNC}:
                return True
    return False
