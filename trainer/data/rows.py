"""The rows of a speech set, wherever it lies, audio not opened yet: one reader for each kind of source.

Knows which reader is whose; does not know what is kept of the rows (`trainer.data.load`).
"""

from __future__ import annotations

from collections.abc import Callable

from milo.recipes import Data
from milo.settings import Settings
from milo.storage.roots import named_path
from milo.training.datasets import METADATA, Kind, kind_of
from trainer.data import arrow_rows, folder_rows, hub, synthetic_rows, table_rows
from trainer.data.row import Splits


def read(settings: Settings, data: Data) -> Splits:
    """All rows by split. Raises `Invalid` that names the field of the recipe and the fix."""
    return READERS[kind_of(data.source)](settings, data)


def _from_hub(settings: Settings, data: Data) -> Splits:
    folder = hub.fetch(settings, data)
    if data.config is None and any(item.name in METADATA for item in folder.rglob("metadata.*")):
        return folder_rows.read_folder(settings, folder, data)  # `datasets` needs torchcodec for audio files
    return arrow_rows.read_folder(settings, folder, data)


def _from_folder(settings: Settings, data: Data) -> Splits:
    return folder_rows.read_folder(settings, named_path(data.source).resolve(), data)


def _from_file(settings: Settings, data: Data) -> Splits:
    return table_rows.read_table(settings, named_path(data.source).resolve(), data)


READERS: dict[Kind, Callable[[Settings, Data], Splits]] = {
    "synthetic": synthetic_rows.rows,
    "hub": _from_hub,
    "folder": _from_folder,
    "file": _from_file,
}
"""Kind of a source -> what reads its rows."""
