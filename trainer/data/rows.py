"""The rows of a speech set, wherever it lies, audio not opened yet: hub, folder, table. Grouped by split.

Knows formats; does not know what is kept of the rows (`trainer.data.load`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milo.audio.formats import RECORDING_SUFFIXES
from milo.errors import Invalid
from milo.recipes import Data
from milo.settings import Settings
from milo.storage.roots import named_path
from milo.training.datasets import (
    FILE_NAME,
    METADATA,
    TABLES,
    kind_of,
    need_columns,
    rows_of,
    text_of,
    wanted_columns,
    wrong,
)

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


def read(settings: Settings, data: Data) -> Splits:
    """All rows by split; `ALL` when the source has no splits. Raises `Invalid` that names the field and the fix."""
    kind = kind_of(data.source)
    if kind == "synthetic":
        from trainer.data import synthetic_rows

        return synthetic_rows.rows(settings, data)
    if kind == "hub":
        from trainer.data import hub_rows

        folder = hub_rows.fetch(settings, data)
        if data.config is None and any(item.name in METADATA for item in folder.rglob("metadata.*")):
            return _from_folder(settings, folder, data)  # `datasets` needs torchcodec for audio files
        return hub_rows.from_folder(settings, folder, data)
    path = named_path(data.source).resolve()
    return _from_folder(settings, path, data) if kind == "folder" else _from_file(settings, path, data)


def file_state(path: Path) -> str:
    stat = path.stat()
    return f"{path}|{stat.st_size}|{stat.st_mtime_ns}"


def _from_file(settings: Settings, path: Path, data: Data) -> Splits:
    if path.suffix.lower() == ".parquet":
        from trainer.data import hub_rows

        return hub_rows.from_parquet(settings, path, data)
    found: Splits = {}
    base = path.parent
    column: str | None = None
    for number, row in enumerate(rows_of(path)):
        if column is None:
            wanted = wanted_columns(data)
            if FILE_NAME in row and data.columns.audio not in row:
                wanted["audio"] = FILE_NAME
            column = wanted["audio"]
            need_columns(row, wanted, path.name)
        name = text_of(row.get(column))
        split = text_of(row.get("split")) or _split_folder(path, name, data)
        found.setdefault(split, []).append(_row(row, name, base / name, data, number))
    if not found:
        raise wrong("source", f"{path} has no rows")
    if ALL in found and len(found) > 1:
        stray = f"{len(found[ALL])} rows of {path.name}, such as {found[ALL][0].id}, are in no split, and others are"
        raise wrong("source", f"{stray}: fill in their column `split`, or remove them")
    return found


def _split_folder(path: Path, name: str, data: Data) -> str:
    """In one metadata file for all: the folder of the audio, if it is called like a split."""
    first, slash, _ = name.partition("/")
    splits = (data.splits.train, data.splits.validation, data.splits.test)
    return first if slash and path.name in METADATA and first in splits else ALL


def _row(row: dict[str, Any], name: str, audio: Path, data: Data, number: int) -> Row:
    columns = data.columns
    speaker = text_of(row.get(columns.speaker)) if columns.speaker else ""
    language = next((text_of(row[key]) for key in LANGUAGE_COLUMNS if row.get(key)), "")
    try:
        state = file_state(audio) if name and audio.is_file() else ""
    except OSError as error:
        said = f"{data.columns.audio!r} is {name[:60]!r}…, which is no file's name: {error.strerror}"
        raise wrong("columns.audio", f"row {number + 1}: {said}") from None
    own = text_of(row.get("id")) or name or f"row {number + 1}"
    return Row(own, text_of(row.get(columns.text)), speaker or None, language or None, lambda: audio, state)


def _from_folder(settings: Settings, folder: Path, data: Data) -> Splits:
    """metadata.csv and the like; a table a split; what `datasets` can read (Parquet, a clone of a hub repository);
    or audio files, each beside a .txt of the same name. Folders named like the splits are the splits."""
    metadata = next((folder / name for name in METADATA if (folder / name).is_file()), None)
    if metadata:
        return _from_file(settings, metadata, data)
    names = [name for name in (data.splits.train, data.splits.validation, data.splits.test) if name]
    tables = {name: folder / f"{name}{end}" for name in names for end in TABLES if (folder / f"{name}{end}").is_file()}
    tables = {n: p for n, p in tables.items() if p.suffix.lower() != ".parquet"} or tables
    if tables:
        return {name: _all_of(_from_file(settings, p, data)) for name, p in tables.items()}
    if any(folder.rglob("*.parquet")):
        from trainer.data import hub_rows

        return hub_rows.from_folder(settings, folder, data)
    found = {name: list(_with_texts(folder / name, folder)) for name in names if (folder / name).is_dir()}
    if described := {name: folder / name / m for name in found for m in METADATA if (folder / name / m).is_file()}:
        found |= {name: _all_of(_from_file(settings, p, data)) for name, p in described.items()}
    if not any(found.values()):
        found = {ALL: list(_with_texts(folder, folder))}
    if not any(found.values()) and any(folder.rglob("*.arrow")):
        raise wrong("source", f"{folder} is what `save_to_disk` writes; load it with `datasets` and use `to_parquet`")
    if not any(found.values()):
        expected = f"{METADATA[0]}, a Parquet file, or audio files each with a .txt of the same name"
        raise wrong("source", f"{folder} holds no data set: it needs {expected}")
    return found


def _all_of(parts: Splits) -> list[Row]:
    return [row for rows in parts.values() for row in rows]


def _with_texts(folder: Path, root: Path) -> Iterator[Row]:
    for at, _, names in sorted(os.walk(folder)):
        for name in sorted(names):
            audio = Path(at) / name
            text = audio.with_suffix(".txt")
            if audio.suffix.lower() not in RECORDING_SUFFIXES or not text.is_file():
                continue
            try:
                words = text_of(text.read_text(encoding="utf-8-sig"))
            except UnicodeDecodeError:
                raise wrong("source", f"{text} is not UTF-8. Save the file as UTF-8") from None
            yield Row(str(audio.relative_to(root)), words, None, None, lambda audio=audio: audio, file_state(audio))


def digest(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


def unreadable(source: str, error: Exception) -> Invalid:
    first = str(error).strip().splitlines()
    return wrong("source", f"{source} can't be read: {first[0] if first else type(error).__name__}")
