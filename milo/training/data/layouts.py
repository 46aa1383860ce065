"""Folders of speech as others lay them out, told apart by the files in them: each has a reader here.

`datasets` reads Parquet and what `save_to_disk` wrote; that is the trainer's (`trainer.data.arrow_rows`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from milo.audio.formats import RECORDING_SUFFIXES
from milo.recipes import Data
from milo.storage.opening import Places
from milo.training.data import kaldi, webdataset
from milo.training.data.row import ALL, Row, Splits, file_state, sentence_of, wrong
from milo.training.data.table_rows import METADATA, AudioFinder, read_table
from milo.training.data.tables import TEXT_TABLES

VALIDATION_NAMES = ("validation", "dev", "valid", "val", "eval")
"""What the validation split is called in one set or another."""
_MOST_LINE_BYTES = 1024 * 1024
"""Of one transcript."""


@dataclass(frozen=True)
class Layout:
    """What a folder was taken for. `read` gives its rows by split, and a few words on how they were read; None: it is
    for `datasets` to read."""

    name: str
    read: Callable[[Data], tuple[Splits, str]] | None = None


def recognise(folder: Path, data: Data, places: Places) -> Layout:
    """How a folder is laid out. Raises `Invalid` for one that holds no data set."""
    for look in _LOOKS:
        if layout := look(folder, data, places):
            return layout
    expected = f"{METADATA[0]}, a table, Parquet files, or audio files each with a .txt of the same name"
    raise wrong("source", f"{folder} holds no data set: it needs {expected}")


def _ljspeech(folder: Path, data: Data, places: Places) -> Layout | None:
    """`metadata.csv` without a header: `id|text as written|text as spoken`, and wavs/id.wav."""
    path = folder / "metadata.csv"
    if not places.has(path):
        return None
    with places.open(path) as file:
        cells = file.readline(_MOST_LINE_BYTES).decode("utf-8-sig", "replace").rstrip("\r\n").split("|")
    find = AudioFinder([folder / "wavs", folder], places)
    if len(cells) not in (2, 3) or not places.has(find(cells[0])):
        return None

    def read(data: Data) -> tuple[Splits, str]:
        rows = []
        for number, line in enumerate(places.read_text(path).split("\n"), 1):
            if not line.strip():
                continue
            cells = line.rstrip("\r").split("|")
            if len(cells) not in (2, 3):
                raise wrong("source", f"{path}, line {number}: {len(cells)} cells, where id|text|text as spoken stand")
            audio = find(cells[0])
            text = sentence_of(cells[-1]) or sentence_of(cells[1])
            rows.append(_row(cells[0], text, audio, places))
        return {ALL: rows}, f"audio from wavs/, text from the {'third' if len(cells) == 3 else 'second'} cell"

    return Layout("LJSpeech", read)


def _row(name: str, text: str, audio: Path, places: Places) -> Row:
    return Row(name, text, None, None, partial(places.open, audio), file_state(audio, places), path=audio)


def _metadata(folder: Path, data: Data, places: Places) -> Layout | None:
    path = next((folder / name for name in METADATA if places.has(folder / name)), None)
    return Layout(path.name, partial(_read_tables, {ALL: path}, places)) if path else None


def _kaldi(folder: Path, data: Data, places: Places) -> Layout | None:
    return Layout("Kaldi", partial(kaldi.read, folder, places)) if kaldi.folders_of(folder, places) else None


def _common_voice(folder: Path, data: Data, places: Places) -> Layout | None:
    """train.tsv, dev.tsv, test.tsv (or validated.tsv alone), and clips/."""
    if not (folder / "clips").is_dir():
        return None
    tables = {name: path for name in ("train", "dev", "test") if places.has(path := folder / f"{name}.tsv")}
    if "train" not in tables and places.has(folder / "validated.tsv"):
        tables = {ALL: folder / "validated.tsv"}
    return Layout("Common Voice", partial(_read_tables, tables, places, folder=folder / "clips")) if tables else None


def _tables(folder: Path, data: Data, places: Places) -> Layout | None:
    """A table a split: train.csv, dev.jsonl, train_manifest.json; or one table alone."""
    names = dict.fromkeys([data.splits.train, data.splits.validation, data.splits.test, *VALIDATION_NAMES])
    tables = {}
    for name in filter(None, names):
        written = (f"{name}{end}" for end in TEXT_TABLES)
        manifests = (f"{kind}{end}" for end in TEXT_TABLES for kind in (f"{name}_manifest", f"manifest_{name}"))
        path = next((folder / file for file in (*written, *manifests) if places.has(folder / file)), None)
        if path:
            tables[name] = path
    if not tables and not any(folder.rglob("*.parquet")):
        alone = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in TEXT_TABLES and places.has(path)]
        alone = [path for path in alone if path.name not in ("dataset_info.json", "state.json", "dataset_dict.json")]
        tables = {ALL: alone[0]} if len(alone) == 1 else {}
    return (
        Layout(", ".join(path.name for path in tables.values()), partial(_read_tables, tables, places))
        if tables
        else None
    )


def _read_tables(tables: dict[str, Path], places: Places, data: Data, folder: Path | None = None) -> tuple[Splits, str]:
    splits: Splits = {}
    said = ""
    for name, path in tables.items():
        parts, roles = read_table(path, data, places, folder)
        said = said or str(roles)
        splits |= parts if name == ALL else {name: [row for rows in parts.values() for row in rows]}
    return splits, said


def _saved_to_disk(folder: Path, data: Data, places: Places) -> Layout | None:
    saved = places.has(folder / "dataset_dict.json") or (
        places.has(folder / "state.json") and places.has(folder / "dataset_info.json")
    )
    return Layout("save_to_disk") if saved else None


def _parquet(folder: Path, data: Data, places: Places) -> Layout | None:
    return Layout("Parquet") if any(folder.rglob("*.parquet")) else None


def _webdataset(folder: Path, data: Data, places: Places) -> Layout | None:
    shards = webdataset.shards_of(folder)
    return Layout("webdataset", partial(webdataset.read, shards, places)) if shards else None


def _texts(folder: Path, data: Data, places: Places) -> Layout | None:
    """Audio files, each beside a .txt of the same name; folders named like the splits are the splits."""
    names = [name for name in (data.splits.train, data.splits.validation, data.splits.test) if name]
    names += [name for name in VALIDATION_NAMES if name not in names]
    described = {name: p for name in names for m in METADATA if places.has(p := folder / name / m)}
    splits = {name: list(_with_texts(folder / name, folder, places)) for name in names if (folder / name).is_dir()}
    splits = {name: rows for name, rows in splits.items() if rows or name in described or name in names[:3]}
    if described:
        tables, said = _read_tables(described, places, data)
        return Layout("metadata files", lambda _: (splits | tables, said))
    if not any(splits.values()):
        splits = {ALL: list(_with_texts(folder, folder, places))}
    return (
        Layout("audio with .txt", lambda _: (splits, "text from the .txt beside each"))
        if any(splits.values())
        else None
    )


def _with_texts(folder: Path, root: Path, places: Places) -> Iterator[Row]:
    for at, _, names in sorted(os.walk(folder)):
        for name in sorted(names):
            audio = Path(at) / name
            text = audio.with_suffix(".txt")
            if audio.suffix.lower() not in RECORDING_SUFFIXES or not (places.has(text) and places.has(audio)):
                continue
            try:
                words = sentence_of(places.read_text(text, _MOST_LINE_BYTES))
            except UnicodeDecodeError:
                raise wrong("source", f"{text} is not UTF-8. Save the file as UTF-8") from None
            yield _row(str(audio.relative_to(root)), words, audio, places)


_LOOKS = (
    _ljspeech, _metadata, _kaldi, _common_voice, _saved_to_disk, _tables, _parquet, _webdataset, _texts,
)  # fmt: skip
"""In this order: the plainest signs first."""
