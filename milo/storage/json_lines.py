"""Files of JSON lines: whole lines are appended, and a line that a crash left torn is passed over by readers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

Row = dict[str, Any]
"""One line. Which fields it has is up to whoever writes the file."""


def parse(lines: Iterable[str]) -> Iterator[Row]:
    """The objects among the lines; what is torn, or no object, is left out."""
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            yield row


def read(path: Path) -> Iterator[Row]:
    """All rows; none when the file can't be read."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")  # a text may hold U+2028
    except OSError:
        return
    yield from parse(lines)


def tail(path: Path, last_bytes: int = 64 * 1024) -> list[Row]:
    """The rows of the last bytes of a file."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - last_bytes))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return list(parse(text.split("\n")[1 if size > last_bytes else 0 :]))


def line_of(row: Mapping[str, Any]) -> bytes:
    """A row as a line."""
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def append(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Add rows in one write, so that writers never mix. After a torn line they begin on a line of their own."""
    content = b"".join(line_of(row) for row in rows)
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            content = content if file.read(1) == b"\n" else b"\n" + content
        file.write(content)
