"""One row of a speech set: a recording, or a part of one, that is not opened yet, and what is said of it."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from milo.errors import Invalid
from milo.storage.opening import Places

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
    open: Callable[[], BinaryIO]
    """Opens the recording, encoded. `NotFound` for one that is not there, or not where the set may have it."""
    state: str
    """Changes when the file does: the key under which its length and hash are remembered. Empty: there is none."""
    at_s: float | None = None
    """Length in seconds, where it is known without looking."""
    start_s: float = 0.0
    end_s: float | None = None
    """Which part of the file is meant; None: up to its end."""
    path: Path | None = None
    """Where the file lies, unless it is within another one."""

    @property
    def is_segment(self) -> bool:
        return self.start_s > 0 or self.end_s is not None


Splits = dict[str, list[Row]]
"""Rows by split; `ALL` alone when the source has no splits."""


def digest(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


def file_state(path: Path, places: Places) -> str:
    """Empty for what is no file there, or elsewhere: nobody is told which."""
    stat = places.look(path)
    return f"{path}|{stat.st_size}|{stat.st_mtime_ns}" if stat else ""


def wrong(field: str, detail: str, code: str = "bad_data") -> Invalid:
    """A fault of the recipe's data, with a pointer to its field."""
    pointer = f"#/data/{field.replace('.', '/')}"
    return Invalid(f"data.{field}: {detail}", code=code, errors=[{"detail": detail, "pointer": pointer}])


def unreadable(source: str, error: BaseException) -> Invalid:
    lines = str(error).strip().splitlines()
    return wrong("source", f"{source} can't be read: {lines[0] if lines else type(error).__name__}")


def text_of(value: Any) -> str:
    """The words of a cell; a cell that holds no single value, or NaN for a missing one, has none."""
    if value is None or isinstance(value, (list, dict)) or value != value:
        return ""
    return " ".join(str(value).replace("\0", " ").split())


def sentence_of(value: Any) -> str:
    """A transcript: `text_of` in composed form (NFC), so that `è` is one letter whoever typed it."""
    return unicodedata.normalize("NFC", text_of(value))
