"""The rows of a speech set, wherever it lies, audio not opened yet: one reader for each kind of source.

Knows which reader is whose; does not know what is kept of the rows (`trainer.data.load`).
"""

from __future__ import annotations

from collections.abc import Callable

from milo.recipes import Data
from milo.settings import Settings
from milo.storage.opening import Places
from milo.storage.roots import named_path
from milo.training import datasets
from milo.training.data.layouts import recognise
from milo.training.data.row import Splits
from milo.training.data.table_rows import METADATA
from milo.training.datasets import Kind, kind_of
from trainer.data import arrow_rows, hub, synthetic_rows


def read(settings: Settings, data: Data) -> tuple[Splits, str]:
    """All rows by split, and what they were read as: from which columns.

    Raises `Invalid` that names the field of the recipe and the fix.
    """
    return READERS[kind_of(data.source, data.confined)](settings, data)


def _synthetic(settings: Settings, data: Data) -> tuple[Splits, str]:
    return synthetic_rows.rows(settings, data), "synthetic"


def _from_hub(settings: Settings, data: Data) -> tuple[Splits, str]:
    folder = hub.fetch(settings, data)
    places = datasets.places_of(settings, data).and_made(folder.parent.parent)  # a snapshot is links into `blobs`
    if data.config is None and any(item.name in METADATA for item in folder.rglob("metadata.*")):
        return _from_disk(
            settings, data.model_copy(update={"source": str(folder)}), places
        )  # `datasets` wants torchcodec
    return arrow_rows.read_folder(settings, folder, data, places)


def _from_disk(settings: Settings, data: Data, places: Places | None = None) -> tuple[Splits, str]:
    places = places or datasets.places_of(settings, data)
    parts, said = datasets.read(data, places)
    if parts is not None:
        return parts, said
    path = named_path(data.source).resolve()
    if path.is_file():
        return arrow_rows.read_parquet(settings, path, data, places.own(path.parent))
    places = places.own(path)
    if recognise(path, data, places).name == "save_to_disk":
        return arrow_rows.read_saved(path, data, places)
    return arrow_rows.read_folder(settings, path, data, places)


READERS: dict[Kind, Callable[[Settings, Data], tuple[Splits, str]]] = {
    "synthetic": _synthetic,
    "hub": _from_hub,
    "folder": _from_disk,
    "file": _from_disk,
}
"""Kind of a source -> what reads its rows."""
