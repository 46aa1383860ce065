"""Which recordings are meant, and where the output of each goes."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from milo.audio.folder import walk_recordings
from milo.errors import Invalid

MAX_NAME_BYTES = 255 - len(".verbose.json")
"""What a file system allows, less the longest format."""


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


def find_inputs(
    paths: Sequence[str | os.PathLike[str]], on_left_out: Callable[[Path, str], None] = lambda path, why: None
) -> list[Input]:
    """Every recording in the files and folders, sorted, each once. Raises `Invalid` for a path that is not there.

    `on_left_out(path, why)` hears of what looks like a recording, or a folder, and is not taken.
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
            for path, why in walk_recordings(place):
                if why:
                    on_left_out(path, why)
                    continue
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


def shared_stems(inputs: Iterable[Input]) -> set[str]:
    """Names without suffix that several recordings have: their outputs keep the suffix, to say whose they are."""
    counts = Counter(stem_of(one.relative) for one in inputs)
    return {stem for stem, count in counts.items() if count > 1}


def stem_of(relative: PurePosixPath) -> str:
    """What two recordings share whose outputs could be taken for one another's."""
    return str(relative.with_suffix("")).casefold()


def names_for(relative: PurePosixPath, *, shared: bool = False) -> Iterator[str]:
    """Candidates for the name of an output without its format: `talk`, then `talk.mp3`, then `talk.mp3-2`, …

    `shared`: another recording has the same stem, so the first is left out. Names are cut to what a file may be called.
    """
    if not shared:
        yield _fit(relative.with_suffix(""))
    yield _fit(relative)
    for number in range(2, 1_000_000):
        yield _fit(relative.with_name(f"{relative.name}-{number}"))


def _fit(name: PurePosixPath) -> str:
    """The name, with its last part cut where there is no room behind it for a format; what was cut is told apart."""
    last = os.fsencode(name.name)
    if len(last) <= MAX_NAME_BYTES:
        return str(name)
    mark = "-" + hashlib.sha256(last).hexdigest()[:8]
    kept = last[: MAX_NAME_BYTES - len(mark)]
    while kept and last[len(kept)] & 0xC0 == 0x80:  # not within a character
        kept = kept[:-1]
    return str(name.with_name(os.fsdecode(kept) + mark))
