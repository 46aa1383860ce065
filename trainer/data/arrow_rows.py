"""Rows through the `datasets` library: a clone of a hub repository, a folder of Parquet files, one Parquet file.

Files are read where they lie; audio stays encoded (`Audio(decode=False)`) until an example is used.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from milo.errors import Invalid
from milo.recipes import Data
from milo.settings import Settings
from milo.training.datasets import need_columns, text_of, wanted_columns, wrong
from trainer.data.row import ALL, LANGUAGE_COLUMNS, Row, Splits, digest, file_state, unreadable


def read_folder(settings: Settings, folder: Path, data: Data) -> Splits:
    from datasets import load_dataset

    def make() -> Any:
        return load_dataset(str(folder), name=data.config, cache_dir=str(settings.home / "datasets" / "arrow"))

    tables = _loaded(data, make)
    return {str(name): _rows(table, data, folder) for name, table in tables.items()}


def read_parquet(settings: Settings, path: Path, data: Data) -> Splits:
    from datasets import Dataset

    def make() -> Any:
        return Dataset.from_parquet(str(path), cache_dir=str(settings.home / "datasets" / "arrow"))

    return {ALL: _rows(_loaded(data, make), data, path.parent, state=file_state(path))}


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


def _rows(table: Any, data: Data, base: Path, state: str = "") -> list[Row]:
    from datasets import Audio, features

    columns, fingerprint = data.columns, table._fingerprint
    need_columns(table.column_names, wanted_columns(data), data.source)
    feature = table.features[columns.audio]
    if isinstance(feature, features.Audio):
        table = table.cast_column(columns.audio, Audio(decode=False))
    sounds = table.select_columns([columns.audio])  # a second column of audio would be decoded with it
    state = state or fingerprint
    names = [columns.text]
    names += [columns.speaker] if columns.speaker and columns.speaker in table.column_names else []
    language = next((name for name in LANGUAGE_COLUMNS if name in table.column_names), None)
    names += [language] if language else []
    names += ["id"] if "id" in table.column_names else []
    plain = table.select_columns(list(dict.fromkeys(names))).to_dict()

    def of(name: str | None, number: int) -> str | None:
        return text_of(plain[name][number]) or None if name in plain else None

    def audio_of(number: int) -> Path | bytes:
        return _audio(sounds[number][columns.audio], base)

    return [
        Row(
            of("id", number) or f"row {number + 1}",
            of(columns.text, number) or "",
            of(columns.speaker, number),
            of(language, number),
            partial(audio_of, number),
            digest(state, columns.audio, number),
        )
        for number in range(len(table))
    ]


def _audio(value: Any, base: Path) -> Path | bytes:
    """The encoded file of one cell: `{bytes, path}`, bytes, or a path relative to the table."""
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, str) and value:
        return base / value
    raise Invalid("the cell holds neither a file nor a path", code="not_audio")
