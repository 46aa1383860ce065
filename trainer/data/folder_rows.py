"""Rows of a folder of recordings, whatever describes them: metadata files, tables, Parquet, or a .txt beside each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from milo.audio.formats import RECORDING_SUFFIXES
from milo.recipes import Data
from milo.settings import Settings
from milo.training.datasets import METADATA, TABLES, text_of, wrong
from trainer.data import arrow_rows
from trainer.data.row import ALL, Row, Splits, file_state
from trainer.data.table_rows import read_table


def read_folder(settings: Settings, folder: Path, data: Data) -> Splits:
    """metadata.csv and the like; a table a split; what `datasets` can read (Parquet, a clone of a hub repository);
    or audio files, each beside a .txt of the same name. Folders named like the splits are the splits."""
    metadata = next((folder / name for name in METADATA if (folder / name).is_file()), None)
    if metadata:
        return read_table(settings, metadata, data)
    names = [name for name in (data.splits.train, data.splits.validation, data.splits.test) if name]
    tables = {name: folder / f"{name}{end}" for name in names for end in TABLES if (folder / f"{name}{end}").is_file()}
    tables = {n: p for n, p in tables.items() if p.suffix.lower() != ".parquet"} or tables
    if tables:
        return {name: _all_of(read_table(settings, p, data)) for name, p in tables.items()}
    if any(folder.rglob("*.parquet")):
        return arrow_rows.read_folder(settings, folder, data)
    splits = {name: list(_with_texts(folder / name, folder)) for name in names if (folder / name).is_dir()}
    if described := {name: folder / name / m for name in splits for m in METADATA if (folder / name / m).is_file()}:
        splits |= {name: _all_of(read_table(settings, p, data)) for name, p in described.items()}
    if not any(splits.values()):
        splits = {ALL: list(_with_texts(folder, folder))}
    if not any(splits.values()) and any(folder.rglob("*.arrow")):
        raise wrong("source", f"{folder} is what `save_to_disk` writes; load it with `datasets` and use `to_parquet`")
    if not any(splits.values()):
        expected = f"{METADATA[0]}, a Parquet file, or audio files each with a .txt of the same name"
        raise wrong("source", f"{folder} holds no data set: it needs {expected}")
    return splits


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
            yield Row(str(audio.relative_to(root)), words, None, None, partial(Path, audio), file_state(audio))
