"""One row of a speech set: a recording that is not opened yet, and what is said of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from milo.errors import Invalid
from milo.training.datasets import wrong

LANGUAGE_COLUMNS = ("language", "locale", "lang")
ALL = ""
"""The split of rows that name none."""


@dataclass(frozen=True)
class Row:
    """One recording and what is said of it."""

    id: str
    text: str
    speaker: str | None
    language: str | None
    open: Callable[[], Path | bytes]
    """Where the audio is, or the file itself, encoded."""
    state: str
    """Changes when the audio does: the key under which its length and hash are remembered."""
    at_s: float | None = None
    """Length in seconds, where it is known without looking."""


Splits = dict[str, list[Row]]
"""Rows by split; `ALL` alone when the source has no splits."""


def digest(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


def file_state(path: Path) -> str:
    stat = path.stat()
    return f"{path}|{stat.st_size}|{stat.st_mtime_ns}"


def unreadable(source: str, error: BaseException) -> Invalid:
    lines = str(error).strip().splitlines()
    return wrong("source", f"{source} can't be read: {lines[0] if lines else type(error).__name__}")
