"""Shards of webdataset: .tar files in which the members of one example share a name. They are read where they lie.

https://github.com/webdataset/webdataset#the-webdataset-format
"""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

from milo.audio.formats import RECORDING_SUFFIXES
from milo.recipes import Data
from milo.storage.json_lines import Row as Cells
from milo.storage.opening import Places
from milo.training.data.columns import USUAL
from milo.training.data.row import ALL, LANGUAGE_COLUMNS, Row, Splits, digest, file_state, sentence_of, text_of, wrong

_SPLIT = re.compile(r"^(train|validation|valid|val|dev|eval|test)(?![a-z])")
_MOST_TEXT_BYTES = 1024 * 1024
MOST_SHARD_BYTES = 256 * 1024**3
_PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE)
"""Members that lie in the shard as they are: no links, no devices, nothing with holes in it."""


def shards_of(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.tar"))


def read(shards: list[Path], places: Places, data: Data) -> tuple[Splits, str]:
    """Rows by split (by the name of the shard or its folder, where it begins with one), and how they were read."""
    splits: Splits = {}
    for shard in shards:
        match = _SPLIT.match(shard.name) or _SPLIT.match(shard.parent.name)
        splits.setdefault(match[1] if match else ALL, []).extend(_rows(shard, places, data))
    if ALL in splits and len(splits) > 1:
        raise wrong("source", f"{splits[ALL][0].id} is in a shard of no split, and others are: name the shards alike")
    return splits, "audio from its member, text from .txt or .json"


def _rows(shard: Path, places: Places, data: Data) -> list[Row]:
    audio: dict[str, tuple[int, int]] = {}
    texts: dict[str, Cells] = {}
    try:
        with places.open(shard, MOST_SHARD_BYTES) as file, tarfile.open(fileobj=file, mode="r:") as archive:
            whole = os.fstat(file.fileno()).st_size
            for member in archive:
                if member.type not in _PLAIN or not 0 <= member.size <= whole - member.offset_data:
                    continue
                folder, _, name = member.name.rpartition("/")
                stem, _, suffix = name.partition(".")
                key = f"{folder}/{stem}" if folder else stem
                if f".{suffix.lower()}" in RECORDING_SUFFIXES:
                    audio[key] = (member.offset_data, member.size)
                elif suffix.lower() in ("txt", "json") and member.size <= _MOST_TEXT_BYTES:
                    content = archive.extractfile(member).read().decode("utf-8-sig")  # type: ignore[union-attr]
                    texts.setdefault(key, {}).update(_cells(content, suffix.lower(), data))
    except (tarfile.TarError, UnicodeDecodeError, OSError) as error:
        raise wrong("source", f"{shard} can't be read: {error}") from None
    state = file_state(shard, places)

    def row(key: str, place: tuple[int, int]) -> Row:
        return _row(key, texts.get(key, {}), partial(_content, shard, places, *place), digest(state, key), data)

    return [row(key, place) for key, place in audio.items()]


def _cells(content: str, suffix: str, data: Data) -> Cells:
    if suffix == "txt":
        return {data.columns.text: content}
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _row(key: str, cells: Cells, content: Callable[[], BinaryIO], state: str, data: Data) -> Row:
    def of(field: str, name: str | None) -> str:
        return next((sentence_of(cells[one]) for one in (name, *USUAL[field]) if one in cells), "")

    language = next((text_of(cells[name]) for name in LANGUAGE_COLUMNS if cells.get(name)), "")
    speaker = of("speaker", data.columns.speaker) if data.columns.speaker else ""
    return Row(key, of("text", data.columns.text), speaker or None, language or None, content, state)


def _content(shard: Path, places: Places, at: int, size: int) -> BinaryIO:
    with places.open(shard, MOST_SHARD_BYTES) as file:
        file.seek(at)
        return io.BytesIO(file.read(size))
