"""What can be told of a data set without decoding its audio: what kind of source it is, and whether it can be read.

The API checks a recipe with this before it queues anything; the trainer measures the audio (`trainer.data.load`).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Literal

from milo.audio.formats import RECORDING_SUFFIXES
from milo.errors import Invalid, MiloError
from milo.models.files import near
from milo.recipes import TASKS, Data, Task
from milo.settings import Settings
from milo.storage.opening import ONLY_THE_SET, Places
from milo.storage.roots import named_path
from milo.training import correction_sets
from milo.training.data import layouts, leaks, pairs, webdataset
from milo.training.data.columns import roles_of
from milo.training.data.row import Splits, wrong
from milo.training.data.splits import choose
from milo.training.data.table_rows import missing_audio, read_table
from milo.training.data.tables import TABLES, TEXT_TABLES

Kind = Literal["synthetic", "hub", "folder", "file"]
HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")

MOST_TABLE_BYTES = 16 * 1024 * 1024
"""Larger tables, of some 100,000 rows, are read when the training begins: nobody waits so long for an answer."""
HEAD_ROWS = 1000
"""Of those, so many are read at once."""
LATER = "all of it is checked when the job begins"


def kind_of(source: str, confined: bool = False) -> Kind:
    """What a recipe's `data.source` is. Raises `Invalid` for a file or folder that is not there. `confined`: files are
    named by absolute paths only."""
    if source == "synthetic":
        return "synthetic"
    path = named_path(source)
    if confined and not path.is_absolute():
        if HUB_ID.match(source):
            return "hub"
        raise not_there(source)
    if path.is_dir():
        return "folder"
    if path.is_file():
        if path.suffix.lower() in (*TABLES, ".tar"):
            return "file"
        raise wrong("source", f"{source} is not one of {', '.join(TABLES)}, .tar, nor a folder")
    if HUB_ID.match(source) and path.suffix.lower() not in TABLES:
        return "hub"
    there = [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []
    raise not_there(source, near(path.name, there))


def not_there(source: str, hint: str = "") -> Invalid:
    return wrong("source", f"there is no {source}; write a hub id, a folder, a file or `synthetic`.{hint}")


def places_of(settings: Settings, data: Data) -> Places:
    """Where the files of a data set may lie, beside its own folder if it is not confined. A set that was made of
    somebody's corrections is in MILO_HOME; whose it is was asked when it was named."""
    places = Places.of(settings, data.confined)
    made = correction_sets.folder_of(settings, "").resolve()
    source = named_path(data.source).resolve()
    if source != made and source.is_relative_to(made):
        return places.and_made(made / source.relative_to(made).parts[0])
    return places


def check(data: Data, task: Task = "whisper", to_train: bool = False, places: Places = ONLY_THE_SET) -> str:
    """Read the source as the trainer will, but for its audio. Raises `Invalid` for whatever it would refuse.

    Returns what it was read as, and what is checked only when the job begins: what is large, or far away.
    `to_train`: also that there is a training split, with audio, and none of it in another split.
    """
    path = named_path(data.source)
    if TASKS[task].examples == "pairs":
        if _table_bytes(path) > MOST_TABLE_BYTES:
            return f"pairs of {data.source}; {LATER}"
        pairs.pair_splits(data, places)
        return "pairs"
    kind = kind_of(data.source, data.confined)
    if kind == "hub":
        return f"{data.source} of the hub; {LATER}"
    if kind == "synthetic":
        return kind
    if _table_bytes(path) > MOST_TABLE_BYTES:
        return f"{_head(path, data, places)}; {LATER}"
    parts, said = read(data, places)
    if parts is None:
        return f"{said}{_saved_columns(path, data, places)}; {LATER}"
    if to_train:
        _need_audio(parts, data)
        leaks.check_files({split: choose(parts, data, split) for split in ("train", "validation", "test")}, data)
    return said


def _table_bytes(path: Path) -> int:
    """Of whatever is read as text: tables, lists, and the two files that a name without its ending stands for."""
    files = path.iterdir() if path.is_dir() else [path] if path.is_file() else path.parent.glob(f"{path.name}.*")
    texts = (file for file in files if file.suffix.lower() not in (*RECORDING_SUFFIXES, ".parquet", ".tar"))
    return sum(file.stat().st_size for file in texts if file.is_file())


def _head(path: Path, data: Data, places: Places) -> str:
    """What a large table, or a folder with one, is read as. Of a table the first rows are checked."""
    path = path.resolve()
    places = places.own(path if path.is_dir() else path.parent)
    if path.is_dir():
        return layouts.recognise(path, data, places).name
    if path.suffix.lower() not in TEXT_TABLES or path.suffix.lower() == ".json":
        return path.name  # one array: it is read whole, or not at all
    _, roles = read_table(path, data, places, most=HEAD_ROWS)
    return f"{path.name}: {roles}"


def _saved_columns(path: Path, data: Data, places: Places) -> str:
    """The columns of what `save_to_disk` wrote, as it says itself beside each split."""
    found = sorted(path.glob("dataset_info.json")) or sorted(path.glob("*/dataset_info.json"))
    try:
        about = json.loads(places.own(path.resolve()).read_text(found[0], MOST_TABLE_BYTES)) if found else None
    except (OSError, ValueError, MiloError):
        return ""
    features = about.get("features") if isinstance(about, dict) else None
    return f": {roles_of(features, data, data.source)}" if isinstance(features, dict) and features else ""


def read(data: Data, places: Places = ONLY_THE_SET) -> tuple[Splits | None, str]:
    """The rows of a file or folder by split, and what it was taken for; None where only `datasets` reads it.

    Files are opened in the set's own folder and in `places`.
    """
    path = named_path(data.source).resolve()
    places = places.own(path if path.is_dir() else path.parent)
    if path.is_dir():
        layout = layouts.recognise(path, data, places)
        if layout.read is None:
            return None, layout.name
        parts, said = layout.read(data)
        return parts, f"{layout.name}: {said}"
    if path.suffix.lower() == ".parquet":
        return None, "Parquet"
    if path.suffix.lower() == ".tar":
        parts, said = webdataset.read([path], places, data)
        return parts, f"webdataset: {said}"
    parts, roles = read_table(path, data, places)
    return parts, f"{path.name}: {roles}"


def _need_audio(parts: Splits, data: Data) -> None:
    """Some missing files are left out and counted; a set in which none is there was meant otherwise."""
    missing, rows = missing_audio(parts), sum(map(len, parts.values()))
    if not rows:
        raise wrong("source", f"{data.source} has no rows")
    if len(missing) == rows:
        place = missing[0].path
        detail = f"none of the {rows} audio files is there; {missing[0].id} was looked for as {place!s}"
        raise wrong(
            "columns.audio",
            f"{detail}. Write paths relative to the table; what lies elsewhere is read only below MILO_AUDIO_ROOTS",
        )
