"""Rows of a text table with one recording, or one part of one, a line. Audio lies beside it, not opened yet."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from itertools import islice
from pathlib import Path, PureWindowsPath

from milo.recipes import Data
from milo.storage.json_lines import Row as Cells
from milo.storage.opening import Places
from milo.training.data.columns import Roles, roles_of, segment_of
from milo.training.data.row import ALL, LANGUAGE_COLUMNS, Row, Splits, file_state, sentence_of, text_of, wrong
from milo.training.data.tables import numbered_rows

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.tsv")
"""What describes a folder of audio files, as `datasets` has it."""
AUDIO_FOLDERS = ("clips", "wavs", "wav", "audio")
"""Beside a table: where its files may lie when they do not lie beside it."""
AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a")
"""Tried for names without one."""


class AudioFinder:
    """Where the files lie that a table names. `folders` come first, then those that people use."""

    def __init__(self, folders: Sequence[Path], allowed: Places) -> None:
        self.allowed = allowed
        self._places = [*folders, *(folder / name for folder in folders for name in AUDIO_FOLDERS)]
        self._suffixes = ("", *AUDIO_SUFFIXES)

    def __call__(self, name: str) -> Path:
        """The file that is meant; where there is none, the path as it is written. The place that was right last time
        is looked into first, so that it is one look for each file."""
        names = [name, name.replace("\\", "/")] if "\\" in name else [name]
        for written in names:
            for place in self._places:
                for suffix in self._suffixes:
                    path = place / f"{written}{suffix}"
                    if name and self.allowed.has(path):
                        if place is not self._places[0]:
                            self._places.remove(place)
                            self._places.insert(0, place)
                        return path
                    if Path(written).suffix.lower() in AUDIO_SUFFIXES:
                        break
        return self._places[0] / names[-1]


def read_table(
    path: Path, data: Data, places: Places, folder: Path | None = None, most: int | None = None
) -> tuple[Splits, Roles | None]:
    """Rows by split, and the columns they were read by. `folder`: where the audio lies, if not beside the table;
    `most`: of its first rows alone."""
    splits: Splits = {}
    roles: Roles | None = None
    find = AudioFinder([folder or path.parent], places)
    for line, row in islice(numbered_rows(path, places), most):
        roles = roles or roles_of(row, data, path.name, path.name in METADATA)
        made = row_of(row, roles, find, f"{path.name}, line {line}")
        split = text_of(row.get("split")) or _split_folder(path, text_of(row.get(roles.audio)), data)
        splits.setdefault(split, []).append(made)
    if not splits:
        raise wrong("source", f"{path} has no rows")
    if ALL in splits and len(splits) > 1:
        stray = f"{len(splits[ALL])} rows of {path.name}, such as {splits[ALL][0].id}, are in no split, and others are"
        raise wrong("source", f"{stray}: fill in their column `split`, or remove them")
    return splits, roles


def row_of(row: Cells, roles: Roles, find: AudioFinder, where: str) -> Row:
    """One line of a table. `where` names it in errors."""
    name = text_of(row.get(roles.audio))
    start_s, end_s = segment_of(row, roles.segments, where)
    audio = find(name)
    state = file_state(audio, find.allowed) if name else ""
    if not state and any(len(os.fsencode(part)) > 255 for part in name.split("/")):
        problem = f"{roles.audio!r} is {name[:60]!r}…, which is too long for a file's name"
        raise wrong("columns.audio", f"{where}: {problem}")
    if not state and PureWindowsPath(name).drive:
        problem = f"{name!r} is a path of a Windows machine, which is not this one"
        raise wrong("columns.audio", f"{where}: {problem}. Write paths relative to the table")
    part = f"@{start_s:g}-{end_s:g}" if end_s is not None else ""
    speaker = text_of(row.get(roles.speaker)) if roles.speaker else ""
    language = next((text_of(row[key]) for key in LANGUAGE_COLUMNS if row.get(key)), "")
    own = text_of(row.get("id")) or (name + part if name else where.rpartition(", ")[2])
    text = sentence_of(row.get(roles.text))
    opener = partial(find.allowed.open, audio)
    return Row(own, text, speaker or None, language or None, opener, state, None, start_s, end_s, audio)


def _split_folder(path: Path, name: str, data: Data) -> str:
    """In one metadata file for all: the folder of the audio, if it is called like a split."""
    first, slash, _ = name.replace("\\", "/").partition("/")
    splits = (data.splits.train, data.splits.validation, data.splits.test)
    return first if slash and path.name in METADATA and first in splits else ALL


def missing_audio(parts: Splits) -> list[Row]:
    """Rows whose file is not there."""
    return [row for rows in parts.values() for row in rows if not row.state]
