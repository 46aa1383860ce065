"""Which recordings are meant, and where the output of each goes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from milo.audio.formats import RECORDING_SUFFIXES
from milo.errors import Invalid


@dataclass(frozen=True)
class Input:
    """One recording."""

    path: Path
    """Absolute, links not resolved."""
    relative: PurePosixPath
    """Where it lies below what the user named: the place of its output, with the suffix of the recording."""

    @property
    def shown(self) -> str:
        """The relative path as text that can always be printed and sent."""
        return os.fsencode(str(self.relative)).decode("utf-8", "replace")


def find_inputs(paths: Sequence[str | os.PathLike[str]]) -> list[Input]:
    """Every recording in the files and folders, sorted, each once. Raises `Invalid` for a path that is not there.

    One folder: outputs keep the folders below it. Several folders: each also keeps its own name, as `cp -r` would.
    """
    places = [Path(os.path.abspath(os.path.expanduser(path))) for path in paths]
    missing = [str(path) for path in places if not path.exists()]
    if missing:
        raise Invalid(f"there is no file or folder {', '.join(missing)}", code="no_file")
    folders = list(dict.fromkeys(place for place in places if place.is_dir()))
    prefixes = _prefixes(folders)
    found: dict[Path, Input] = {}
    for place in places:
        if place in prefixes:
            for path in _walk(place):
                relative = prefixes[place] / PurePosixPath(path.relative_to(place).as_posix())
                found.setdefault(path, Input(path, relative))
        else:
            found.setdefault(place, Input(place, PurePosixPath(place.name)))
    return list(found.values())


def _prefixes(folders: Iterable[Path]) -> dict[Path, PurePosixPath]:
    folders = list(folders)
    if len(folders) == 1:
        return {folders[0]: PurePosixPath()}
    prefixes: dict[Path, PurePosixPath] = {}
    for folder in folders:
        names = (folder.name if n == 1 else f"{folder.name}-{n}" for n in range(1, len(folders) + 1))
        prefixes[folder] = next(PurePosixPath(name) for name in names if PurePosixPath(name) not in prefixes.values())
    return prefixes


def _walk(folder: Path) -> Iterator[Path]:
    for root, names, files in os.walk(folder):
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in sorted(files):
            path = Path(root, name)
            if not name.startswith(".") and path.suffix.lower() in RECORDING_SUFFIXES and path.is_file():
                yield path


def names_for(relative: PurePosixPath) -> Iterator[str]:
    """Candidates for the name of an output without its format: `talk`, then `talk.mp3`, then `talk.mp3-2`, …"""
    yield str(relative.with_suffix(""))
    yield str(relative)
    for number in range(2, 1_000_000):
        yield f"{relative}-{number}"
