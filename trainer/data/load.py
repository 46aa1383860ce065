"""Speech to train and judge with: examples of a split, from a hub id, a folder, a table, or the synthetic set.

    train = load(settings, recipe.data, "train")
    train[0].text, train[0].audio()          # str, float32 (n,) at 16 kHz, decoded when asked for
    train.sha256                             # names the examples and the bytes of their audio

Texts and lengths are in memory, audio is not. Owns splits and filters; `trainer.data.rows` reads formats.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, overload

from milo.engines.whisper.checkpoint import ISO_639_3
from milo.errors import MiloError
from milo.models.files import write_durably
from milo.recipes import Data
from milo.settings import Settings
from milo.training.datasets import wrong
from trainer.data import rows
from trainer.data.hub_rows import no_split
from trainer.data.measure import Audio, Measured, decode, measured
from trainer.data.rows import ALL, Row, Splits

Split = Literal["train", "validation", "test"]
Told = Callable[[int, int], None]
EXAMPLES = 5
"""Ids named for each reason that rows were dropped for."""


@dataclass(frozen=True)
class Item:
    """One utterance."""

    id: str
    text: str
    speaker: str | None
    duration_s: float
    sha256: str = ""
    """Of the encoded audio."""
    open: Callable[[], Path | bytes] = field(default=lambda: b"", repr=False, compare=False)

    def audio(self) -> Audio:
        """Mono float32 at 16 kHz, shape (n,). Raises `MiloError` that names the item when it can't be decoded."""
        try:
            return decode(self.open(), max_s=self.duration_s + 60)
        except MiloError as error:
            raise MiloError(f"the audio of {self.id} can't be read: {error.detail}", code=error.code) from None
        except OSError as error:
            raise MiloError(f"the audio of {self.id} can't be read: {error.strerror}", code="missing_audio") from None


class Dataset(Sequence[Item]):
    """The examples of one split, in the order of their source. `sha256` is of ids, texts, speakers and audio."""

    def __init__(
        self,
        split: str,
        items: Iterable[Item],
        dropped: dict[str, list[str]] | None = None,
        unreadable: Iterable[Item] = (),
    ) -> None:
        self.split = split
        self.items = list(items)
        self.dropped = dropped or {}
        """Why rows were left out -> their ids."""
        self.unreadable = list(unreadable)
        """Those of them whose audio is the reason: an evaluation counts them."""
        hashed = hashlib.sha256()
        for item in self.items:
            hashed.update(json.dumps([item.id, item.text, item.speaker, item.sha256]).encode() + b"\n")
        self.sha256 = hashed.hexdigest()

    @overload
    def __getitem__(self, at: int) -> Item: ...
    @overload
    def __getitem__(self, at: slice) -> list[Item]: ...
    def __getitem__(self, at: int | slice) -> Item | list[Item]:
        return self.items[at]

    def __len__(self) -> int:
        return len(self.items)

    @property
    def seconds(self) -> float:
        return sum(item.duration_s for item in self.items)

    @property
    def why_empty(self) -> str:
        """Where no row is left: what became of those there were."""
        reasons = "; ".join(f"{len(ids)} {why}" for why, ids in self.dropped.items())
        return reasons or "it is empty: one sentence alone can't be both trained on and judged by"

    def document(self) -> dict[str, Any]:
        """What dataset.json says of this split."""
        return {
            "sha256": self.sha256,
            "items": len(self),
            "seconds": round(self.seconds, 3),
            "speakers": len({item.speaker for item in self.items if item.speaker}) or None,
            "dropped": {why: {"rows": len(ids), "such_as": ids[:EXAMPLES]} for why, ids in self.dropped.items()},
        }


def load(settings: Settings, data: Data, split: Split, told: Told | None = None) -> Dataset:
    """The examples of a split that pass the filters. Raises `Invalid` naming the field of the recipe and the fix.

    `told(done, total)` is called while lengths are measured for the first time.
    """
    return load_all(settings, data, (split,), told)[split]


def load_all(
    settings: Settings, data: Data, splits: Iterable[Split] = ("train", "validation", "test"), told: Told | None = None
) -> dict[str, Dataset]:
    """Several splits at once: the source is read once."""
    parts = rows.read(settings, data)
    found = {split: _filtered(settings, data, split, choose(parts, data, split), told) for split in splits}
    for split, one in found.items():
        if not one.items:
            detail = f"no usable row is left in the split {split} of {data.source} ({one.why_empty})"
            raise wrong("source", detail, "no_usable_rows")
    return found


def load_to_judge(settings: Settings, data: Data, split: Split, told: Told | None = None) -> Dataset:
    """A split for an evaluation: what can't be read belongs to it, and none at all is a finding, not a mistake."""
    found = _filtered(settings, data, split, choose(rows.read(settings, data), data, split), told)
    return Dataset(split, [*found.items, *found.unreadable], found.dropped)


def write_document(path: Path, data: Data, splits: Iterable[Dataset]) -> dict[str, Any]:
    """dataset.json: where the examples are from, and for each split its hash, counts, seconds and what was dropped."""
    source = {"source": data.source, "config": data.config, "revision": data.revision}
    document = {**source, "splits": {one.split: one.document() for one in splits}}
    write_durably(path, json.dumps(document, indent=1))
    return document


# --- splits -----------------------------------------------------------------------------------------------------------


def choose(parts: Splits, data: Data, split: Split) -> list[Row]:
    """The rows of a split. A source without a validation split gives a share of its training rows, by hash of text."""
    names = data.splits
    if set(parts) == {ALL}:
        parts = {names.train: parts[ALL]}
    if names.train not in parts and split != "test":
        raise no_split(names.train, list(parts), "train", data.source)
    if split == "test":
        own = _own(parts, names.test, "test", data.source)
        return own if own is not None else choose(parts, data, "validation")
    own = _own(parts, names.validation, "validation", data.source)
    if own is not None and split == "validation":
        return own
    if own is not None:
        return parts[names.train]
    return _share(parts[names.train], data.validation_share, split)


def _own(parts: Splits, name: str | None, role: str, source: str) -> list[Row] | None:
    """Rows of the split that was named; None: there is none. The default names need not exist."""
    if name is None or name in parts:
        return parts[name] if name else None
    if name == role:
        return None
    raise no_split(name, list(parts), role, source)


def _share(found: list[Row], share: float, split: Split) -> list[Row]:
    """Equal texts stay together, so that no sentence of validation was trained on."""
    keys = {text: hashlib.sha256(text.encode()).digest() for text in {row.text.casefold() for row in found}}
    ordered = sorted(keys, key=lambda text: keys[text])
    held_out = set(ordered[: max(1, round(len(ordered) * share))]) if len(ordered) > 1 else set()
    return [row for row in found if (row.text.casefold() in held_out) == (split == "validation")]


# --- filters ----------------------------------------------------------------------------------------------------------


def _filtered(settings: Settings, data: Data, split: Split, found: list[Row], told: Told | None) -> Dataset:
    kept: list[Item] = []
    unreadable: list[Item] = []
    dropped: dict[str, list[str]] = {}
    seen: Counter[str] = Counter()
    wanted = _limited(found, data, dropped)
    for row, size in zip(wanted, measured(settings, data.source, wanted, told), strict=True):
        why = _fault(size, data)
        if why:
            dropped.setdefault(why, []).append(row.id)
        if why and not size.fault:
            continue
        seen[row.id] += 1
        name = row.id if seen[row.id] == 1 else f"{row.id}#{seen[row.id]}"
        (unreadable if why else kept).append(Item(name, row.text, row.speaker, size.duration_s, size.sha256, row.open))
    return Dataset(split, kept, dropped, unreadable)


def _limited(found: list[Row], data: Data, dropped: dict[str, list[str]]) -> list[Row]:
    """What can be told without audio: text, language, the limit."""
    wanted = []
    for row in found:
        if not re.search(r"\w", row.text):
            dropped.setdefault("without text", []).append(row.id)
        elif row.language and not _same_language(row.language, data.language):
            dropped.setdefault(f"in {row.language}, not {data.language}", []).append(row.id)
        else:
            wanted.append(row)
    return wanted[: data.limit]


def _same_language(one: str, other: str) -> bool:
    """Codes are compared; a name, such as `Malagasy`, is not told from another and passes."""
    codes = [re.split(r"[-_]", code.lower())[0] for code in (one, other)]
    return len(codes[0]) > 3 or ISO_639_3.get(codes[0], codes[0]) == ISO_639_3.get(codes[1], codes[1])


def _fault(size: Measured, data: Data) -> str:
    if size.fault:
        return "with a missing audio file" if size.fault == "missing" else f"with unreadable audio ({size.fault})"
    if size.duration_s < data.min_audio_s:
        return f"shorter than {data.min_audio_s:g} s"
    return f"longer than {data.max_audio_s:g} s" if size.duration_s > data.max_audio_s else ""
