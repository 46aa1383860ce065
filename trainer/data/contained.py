"""What a data set tells the library `datasets` to open, looked at before it does: files of the set, and nothing else.

A card's `data_files`, the lists of `save_to_disk`, links: each may name a file of the server, or a URL.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from milo.errors import Invalid
from milo.storage.opening import Places
from milo.training.data.row import wrong

CARDS = ("README.md", ".huggingface.yaml")
LISTS = ("dataset_dict.json", "dataset_info.json", "state.json", "dataset_infos.json")
MOST_CARD_BYTES = 4 * 1024 * 1024
_NAMES_FILES = ("data_files", "data_dir")


def check_files(paths: Iterable[str], places: Places) -> None:
    """Raises `Invalid` unless each is a file that may be read."""
    for path in paths:
        if not places.has(path):
            raise _elsewhere(path)


def check_card(folder: Path, places: Places) -> None:
    """Whether the card of a folder names only what is in it, and what is read of the folder is files. `Invalid`."""
    _check_small(folder, (*CARDS, *LISTS), places)
    for name in CARDS:
        if (folder / name).exists():
            _check_names(_card(folder / name, places))


def check_saved(folder: Path, places: Places) -> None:
    """The same of a set, or of the splits, that `save_to_disk` wrote."""
    _check_small(folder, LISTS, places)
    splits = _json(folder / LISTS[0], places).get("splits", [])
    for split in splits if isinstance(splits, list) else ():
        _check_inside(split)
        check_saved(folder / split, places)
    files = _json(folder / "state.json", places).get("_data_files", [])
    for one in files if isinstance(files, list) else ():
        name = one.get("filename") if isinstance(one, dict) else None
        _check_inside(name)
        check_files([str(folder / str(name))], places)


def _check_small(folder: Path, names: Iterable[str], places: Places) -> None:
    for name in names:
        path = folder / name
        if path.is_symlink() or path.exists():
            found = places.look(path)
            if found is None or found.st_size > MOST_CARD_BYTES:
                raise _elsewhere(str(path))


def _card(path: Path, places: Places) -> Any:
    """What a card says to programs: YAML, in a README between two lines of dashes."""
    import yaml

    text = places.read_text(path, MOST_CARD_BYTES)
    if path.suffix == ".md":
        parts = text.split("---", 2)
        text = parts[1] if len(parts) == 3 and not parts[0].strip() else ""
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise wrong("source", f"{path} is not YAML: {' '.join(str(error).split())[:200]}") from None


def _check_names(value: Any) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in _NAMES_FILES:
                for leaf in _leaves(inner):
                    _check_inside(leaf)
            _check_names(inner)
    elif isinstance(value, list):
        for inner in value:
            _check_names(inner)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _leaves(inner)
    else:
        yield value


def _check_inside(name: Any) -> None:
    """A relative path without a way up, and no URL or chain of them."""
    text = str(name)
    if text.startswith(("/", "~")) or ".." in PurePosixPath(text.replace("\\", "/")).parts or ":" in text:
        raise _elsewhere(text)


def _json(path: Path, places: Places) -> dict[str, Any]:
    if not places.has(path):
        return {}
    try:
        found = json.loads(places.read_text(path, MOST_CARD_BYTES))
    except ValueError:
        raise wrong("source", f"{path} is not JSON") from None
    return found if isinstance(found, dict) else {}


def _elsewhere(name: str) -> Invalid:
    return wrong("source", f"the set names {name[:200]!r}, which is no file of it that may be read")
