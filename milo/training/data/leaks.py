"""What two splits have in common: a model that is judged by what it was taught shows how well it learned by heart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from milo.recipes import Data
from milo.storage.opening import sha256_of
from milo.training.data.row import Row, wrong

EXAMPLES = 3
MOST_BYTES = 256 * 1024 * 1024
"""Files of equal size are compared by their bytes before a training is queued, until so much was read."""


class Example(Protocol):
    """What is compared of an utterance."""

    @property
    def id(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def speaker(self) -> str | None: ...
    @property
    def start_s(self) -> float: ...
    @property
    def end_s(self) -> float | None: ...


@dataclass(frozen=True)
class Leak:
    """What the splits of one pair share."""

    what: str
    """`audio`, `text` or `speaker`."""
    splits: tuple[str, str]
    count: int
    """Utterances of the second split that it concerns."""
    such_as: tuple[str, ...]

    def __str__(self) -> str:
        one, other = self.splits
        return f"{self.count} of {other} share their {self.what} with {one}, such as {'; '.join(self.such_as)}"


def find(sets: Mapping[str, Sequence[Example]], recordings: Mapping[int, str]) -> list[Leak]:
    """Every pair of splits compared by audio, text and speaker. `recordings`: id(example) -> hash of its file."""
    names = list(sets)
    found = []
    for at, one in enumerate(names):
        for other in names[at + 1 :]:
            audio = _shared_audio(sets[one], sets[other], recordings)
            texts = _shared(sets[one], sets[other], lambda example: " ".join(example.text.casefold().split()))
            speakers = _shared(sets[one], sets[other], lambda example: example.speaker)
            for what, rows in (("audio", audio), ("text", texts), ("speaker", speakers)):
                if rows:
                    named = tuple(f"{a} and {b}" for a, b in rows[:EXAMPLES])
                    found.append(Leak(what, (one, other), len(rows), named))
    return found


def _shared(one: Sequence[Example], other: Sequence[Example], key: Any) -> list[tuple[str, str]]:
    known: dict[Hashable, str] = {}
    for example in one:
        known.setdefault(key(example), example.id)
    return [(known[key(example)], example.id) for example in other if key(example) and key(example) in known]


def _shared_audio(
    one: Iterable[Example], other: Iterable[Example], recordings: Mapping[int, str]
) -> list[tuple[str, str]]:
    """Parts of one recording that overlap; of two that touch, neither has heard the other."""
    parts: dict[str, list[Example]] = defaultdict(list)
    for example in one:
        if recording := recordings.get(id(example)):
            parts[recording].append(example)
    shared = []
    for example in other:
        near = parts.get(recordings.get(id(example), ""), ())
        if twin := next((known for known in near if _overlap(known, example)), None):
            shared.append((twin.id, example.id))
    return shared


def _overlap(one: Example, other: Example) -> bool:
    ends = [example.end_s if example.end_s is not None else float("inf") for example in (one, other)]
    return min(ends) - max(one.start_s, other.start_s) > 0.05


def refuse_audio(found: Iterable[Leak], data: Data) -> None:
    """Raises `Invalid` where splits share audio, unless the recipe takes that."""
    shared = [str(leak) for leak in found if leak.what == "audio"]
    if shared and not data.shared_audio:
        what = f"recordings are in two splits: {'; '.join(shared)}"
        raise wrong("source", f"{what}. Take them out of one, or write `shared_audio: true`", "shared_audio")


def check_files(sets: Mapping[str, Sequence[Row]], data: Data) -> None:
    """Raises `Invalid` where splits share audio, as far as that is cheap to tell: the same file, or equal bytes."""
    if data.shared_audio:
        return
    if _are_one(sets):
        sets = {name: rows for name, rows in sets.items() if name != "test"}
    paths = {id(row): path for rows in sets.values() for row in rows if (path := _path_of(row))}
    hashes = _hashes(sets, paths)
    recordings = {at: hashes.get(path, str(path)) for at, path in paths.items()}
    refuse_audio(find(sets, recordings), data)


def _are_one(sets: Mapping[str, Sequence[Row]]) -> bool:
    """Whether validation stands in for the test split that the set lacks."""
    return [row.id for row in sets["validation"]] == [row.id for row in sets["test"]]


def _path_of(row: Row) -> Path | None:
    return row.path if row.state else None


def _hashes(sets: Mapping[str, Sequence[Row]], paths: Mapping[int, Path]) -> dict[Path, str]:
    """Of the files that have as many bytes as one of another split."""
    sizes: dict[int, dict[Path, set[str]]] = defaultdict(dict)
    openers = {row.path: row.open for rows in sets.values() for row in rows}
    for name, rows in sets.items():
        for row in rows:
            if path := paths.get(id(row)):
                size = int(row.state.rsplit("|", 2)[1])
                sizes[size].setdefault(path, set()).add(name)
    hashes: dict[Path, str] = {}
    left = MOST_BYTES
    for size, files in sorted(sizes.items()):
        if len(files) > 1 and len(set().union(*files.values())) > 1 and size * len(files) <= left:
            left -= size * len(files)
            hashes |= {path: _sha256(openers[path]) for path in files}
    return hashes


def _sha256(opener: Callable[[], BinaryIO]) -> str:
    with opener() as file:
        return sha256_of(file)
