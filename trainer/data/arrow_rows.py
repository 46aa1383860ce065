"""Rows through the `datasets` library: a clone of a hub repository, a folder of Parquet files, one Parquet file.

Files are read where they lie; audio stays encoded (`Audio(decode=False)`) until an example is used.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from milo.errors import Invalid
from milo.recipes import Data
from milo.settings import Settings
from milo.storage.opening import Places
from milo.training.data.columns import Roles, roles_of, segment_of
from milo.training.data.row import (
    ALL,
    LANGUAGE_COLUMNS,
    Row,
    Splits,
    digest,
    file_state,
    sentence_of,
    text_of,
    unreadable,
    wrong,
)
from trainer.data import contained
from trainer.data.parquet_claims import check_parquet


def read_folder(settings: Settings, folder: Path, data: Data, places: Places) -> tuple[Splits, str]:
    from datasets import load_dataset, load_dataset_builder

    contained.check_card(folder, places)
    cache = _cache(settings, folder)
    made = _loaded(data, lambda: load_dataset_builder(str(folder), name=data.config, cache_dir=cache))
    files = [path for paths in (made.config.data_files or {}).values() for path in paths]
    contained.check_files(files, places)
    check_parquet(files)
    tables = _loaded(data, lambda: load_dataset(str(folder), name=data.config, cache_dir=cache))
    return _splits(tables, data, folder, places.and_made(cache))  # archives are unpacked there


def read_parquet(settings: Settings, path: Path, data: Data, places: Places) -> tuple[Splits, str]:
    from datasets import Dataset

    contained.check_files([str(path)], places)
    check_parquet([path])
    table = _loaded(data, lambda: Dataset.from_parquet(str(path), cache_dir=_cache(settings, path)))
    return _splits({ALL: table}, data, path.parent, places, file_state(path, places))


def read_saved(folder: Path, data: Data, places: Places) -> tuple[Splits, str]:
    """What `save_to_disk` wrote, of a set or of its splits."""
    from datasets import DatasetDict, load_from_disk

    contained.check_saved(folder, places)
    tables = _loaded(data, lambda: load_from_disk(str(folder)))
    parts = tables if isinstance(tables, DatasetDict) else {ALL: tables}
    return _splits(parts, data, folder, places)


def _cache(settings: Settings, source: Path) -> str:
    """Of this set alone: the rows of another one can't name what was unpacked here."""
    return str(settings.home / "datasets" / "arrow" / digest(source)[:16])


def _loaded(data: Data, make: Callable[[], Any]) -> Any:
    import datasets

    datasets.disable_progress_bars()
    try:
        return make()
    except ValueError as error:
        if data.config is None or "BuilderConfig" not in str(error):
            if "Config name is missing" in str(error):
                raise wrong("config", f"{data.source} has several configurations; {_sentence(error)}") from None
            raise unreadable(data.source, error) from None
        raise wrong("config", f"{data.source} has no configuration {data.config!r}: {_sentence(error)}") from None
    except MemoryError:
        raise
    except Exception as error:  # whatever its readers raise: BadZipFile, ArrowInvalid, ImportError …
        raise unreadable(data.source, error.__cause__ or error) from None


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _splits(tables: Mapping[Any, Any], data: Data, base: Path, places: Places, state: str = "") -> tuple[Splits, str]:
    """Rows by split, and the columns of the first."""
    roles = {str(name): roles_of(table.column_names, data, data.source) for name, table in tables.items()}
    splits = {str(name): _rows(table, roles[str(name)], data, base, places, state) for name, table in tables.items()}
    return splits, next((f"{data.source}: {one}" for one in roles.values()), data.source)


def _rows(table: Any, columns: Roles, data: Data, base: Path, places: Places, state: str) -> list[Row]:
    from datasets import Audio, features

    fingerprint = table._fingerprint
    feature = table.features[columns.audio]
    if isinstance(feature, features.Audio):
        table = table.cast_column(columns.audio, Audio(decode=False))
    sounds = table.select_columns([columns.audio])  # a second column of audio would be decoded with it
    state = state or fingerprint
    names = [columns.text]
    names += [columns.speaker] if columns.speaker else []
    names += [columns.segments.start, columns.segments.end] if columns.segments else []
    language = next((name for name in LANGUAGE_COLUMNS if name in table.column_names), None)
    names += [language] if language else []
    names += ["id"] if "id" in table.column_names else []
    plain = table.select_columns(list(dict.fromkeys(names))).to_dict()

    def of(name: str | None, number: int) -> str | None:
        return text_of(plain[name][number]) or None if name in plain else None

    def audio_of(number: int) -> BinaryIO:
        return _audio(sounds[number][columns.audio], base, places)

    def row(number: int) -> Row:
        cells = {name: values[number] for name, values in plain.items()}
        start_s, end_s = segment_of(cells, columns.segments, f"{data.source}, row {number + 1}")
        return Row(
            of("id", number) or f"row {number + 1}",
            sentence_of(plain[columns.text][number]),
            of(columns.speaker, number),
            of(language, number),
            partial(audio_of, number),
            digest(state, columns.audio, number),
            start_s=start_s,
            end_s=end_s,
        )

    return [row(number) for number in range(len(table))]


def _audio(value: Any, base: Path, places: Places) -> BinaryIO:
    """The encoded file of one cell: `{bytes, path}`, bytes, or a path relative to the table."""
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return io.BytesIO(value)
    if isinstance(value, str) and value:
        return places.open(base / value)
    raise Invalid("the cell holds neither a file nor a path", code="not_audio")
