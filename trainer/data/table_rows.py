"""Rows of a table with one recording a line: .jsonl, .csv, .tsv, or Parquet. Audio lies beside it, not opened yet."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from milo.recipes import Data
from milo.settings import Settings
from milo.training.datasets import FILE_NAME, METADATA, need_columns, rows_of, text_of, wanted_columns, wrong
from trainer.data import arrow_rows
from trainer.data.row import ALL, LANGUAGE_COLUMNS, Row, Splits, file_state


def read_table(settings: Settings, path: Path, data: Data) -> Splits:
    if path.suffix.lower() == ".parquet":
        return arrow_rows.read_parquet(settings, path, data)
    splits: Splits = {}
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
        splits.setdefault(split, []).append(_row(row, name, base / name, data, number))
    if not splits:
        raise wrong("source", f"{path} has no rows")
    if ALL in splits and len(splits) > 1:
        stray = f"{len(splits[ALL])} rows of {path.name}, such as {splits[ALL][0].id}, are in no split, and others are"
        raise wrong("source", f"{stray}: fill in their column `split`, or remove them")
    return splits


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
        problem = f"{data.columns.audio!r} is {name[:60]!r}…, which is no file's name: {error.strerror}"
        raise wrong("columns.audio", f"row {number + 1}: {problem}") from None
    own = text_of(row.get("id")) or name or f"row {number + 1}"
    return Row(own, text_of(row.get(columns.text)), speaker or None, language or None, partial(Path, audio), state)
