"""Speech to train and judge with: examples of a split, from a hub id, a folder, a table, or the synthetic set.

    train = load(settings, recipe.data, "train")
    train[0].text, train[0].audio()          # str, float32 (n,) at 16 kHz, decoded when asked for
    train.sha256                             # names the examples and the bytes of their audio

Texts and lengths are in memory, audio is not. Owns the filters; `trainer.data.rows` reads formats.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, overload

from milo.audio.lasting import LastingDecoder, lasting_of
from milo.engines.whisper.checkpoint import ISO_639_3
from milo.errors import MiloError
from milo.models.files import write_durably
from milo.recipes import Data
from milo.settings import Settings
from milo.training.data import leaks
from milo.training.data.row import Row, digest, wrong
from milo.training.data.splits import Split, choose
from trainer.data import rows
from trainer.data.measure import Audio, Measured, decode, measured
from trainer.data.segments import PAST_END_S, cut

ReportProgress = Callable[[int, int], None]
OUTSIDE = "that ends after its recording"
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
    open: Callable[[], BinaryIO] = field(default=io.BytesIO, repr=False, compare=False)
    start_s: float = 0.0
    end_s: float | None = None
    """Which part of the file it is; None: up to its end."""
    recording_sha256: str = ""
    """Of the whole file."""
    decoder: LastingDecoder | None = field(default=None, repr=False, compare=False)

    def audio(self) -> Audio:
        """Mono float32 at 16 kHz, shape (n,). Raises `MiloError` that names the item when it can't be decoded."""
        assert self.decoder is not None, "an item without audio"
        try:
            with self.open() as file:
                if self.end_s is not None:
                    return cut(file, self.start_s, self.end_s, self.decoder)
                return decode(file, self.duration_s + 60, self.decoder)
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
        wrong_length: Iterable[str] = (),
    ) -> None:
        self.split = split
        self.items = list(items)
        self.dropped = dropped or {}
        """Why rows were left out -> their ids."""
        self.unreadable = list(unreadable)
        """Those of them whose audio is the reason: an evaluation counts them."""
        self.wrong_length = list(wrong_length)
        """Ids of rows whose WAV header claims another length than is there; all that is there is used."""
        self.read_as = ""
        """What its source was taken for, and from which columns it was read, named or guessed."""
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
            "dropped": {why: _counted(ids) for why, ids in self.dropped.items()},
            **({"wrong_length": _counted(self.wrong_length)} if self.wrong_length else {}),
        }


def _counted(ids: list[str]) -> dict[str, Any]:
    return {"rows": len(ids), "such_as": ids[:EXAMPLES]}


def load(settings: Settings, data: Data, split: Split, report: ReportProgress | None = None) -> Dataset:
    """The examples of a split that pass the filters. Raises `Invalid` naming the field of the recipe and the fix.

    `report(done, total)` is called while lengths are measured for the first time.
    """
    return load_all(settings, data, (split,), report)[split]


def load_all(
    settings: Settings,
    data: Data,
    splits: Iterable[Split] = ("train", "validation", "test"),
    report: ReportProgress | None = None,
) -> dict[str, Dataset]:
    """Several splits at once: the source is read once. Raises `Invalid` for one that is empty, or shares audio."""
    sets = read_splits(settings, data, splits, report)
    leaks.refuse_audio(shared(sets), data)
    for one in sets.values():
        if not one.items:
            detail = f"no usable row is left in the split {one.split} of {data.source} ({one.why_empty})"
            raise wrong("source", detail, "no_usable_rows")
    return sets


def read_splits(
    settings: Settings, data: Data, splits: Iterable[Split], report: ReportProgress | None = None
) -> dict[str, Dataset]:
    """The splits as they are, whatever is wrong with them."""
    parts, read_as = rows.read(settings, data)
    sets: dict[str, Dataset] = {
        split: _filtered(settings, data, split, choose(parts, data, split), report) for split in splits
    }
    for one in sets.values():
        one.read_as = read_as
    return sets


def shared(sets: Mapping[str, Dataset]) -> list[leaks.Leak]:
    """What the splits have in common. A test split that is the validation split is not compared with it."""
    parts = {name: one for name, one in sets.items() if name != "test" or _is_own(one, sets)}
    recordings = {id(item): item.recording_sha256 for one in parts.values() for item in one}
    return leaks.find(parts, recordings)


def _is_own(test: Dataset, sets: Mapping[str, Dataset]) -> bool:
    return "validation" not in sets or sets["validation"].sha256 != test.sha256


def load_to_judge(settings: Settings, data: Data, split: Split, report: ReportProgress | None = None) -> Dataset:
    """A split for an evaluation: what can't be read belongs to it, and none at all is a finding, not a mistake."""
    readable = _filtered(settings, data, split, choose(rows.read(settings, data)[0], data, split), report)
    return Dataset(split, [*readable.items, *readable.unreadable], readable.dropped)


def write_document(path: Path, data: Data, splits: Iterable[Dataset], **more: Any) -> dict[str, Any]:
    """dataset.json: where the examples are from, and for each split its hash, counts, seconds and what was dropped."""
    parts = list(splits)
    source = {"source": data.source, "config": data.config, "revision": data.revision}
    read_as = next((one.read_as for one in parts if one.read_as), None)
    document = {**source, "read_as": read_as, "splits": {one.split: one.document() for one in parts}, **more}
    write_durably(path, json.dumps(document, indent=1))
    return document


# --- filters ----------------------------------------------------------------------------------------------------------


def _filtered(
    settings: Settings, data: Data, split: Split, candidates: list[Row], report: ReportProgress | None
) -> Dataset:
    kept: list[Item] = []
    unreadable: list[Item] = []
    dropped: dict[str, list[str]] = {}
    wrong_length: list[str] = []
    seen: Counter[str] = Counter()
    wanted = _limited(candidates, data, dropped)
    files = {_file_of(row): row for row in wanted}
    sizes = dict(zip(files, measured(settings, data.source, list(files.values()), report), strict=True))
    for row in wanted:
        whole = sizes[_file_of(row)]
        size = _part(row, whole)
        why = _fault(size, data)
        if why:
            dropped.setdefault(why, []).append(row.id)
        if why and not size.fault:
            continue
        seen[row.id] += 1
        name = row.id if seen[row.id] == 1 else f"{row.id}#{seen[row.id]}"
        if size.wrong_length:
            wrong_length.append(name)
        (unreadable if why else kept).append(
            Item(
                name,
                row.text,
                row.speaker,
                size.duration_s,
                size.sha256,
                row.open,
                row.start_s,
                row.end_s,
                whole.sha256,
                lasting_of(settings),
            )
        )
    return Dataset(split, kept, dropped, unreadable, wrong_length)


def _file_of(row: Row) -> str:
    """Rows of one file are measured once."""
    return row.state or f"row {row.id}"


def _part(row: Row, whole: Measured) -> Measured:
    """The measure of the part of a file that a row means."""
    if row.end_s is None or whole.fault:
        return whole
    if row.end_s > whole.duration_s + PAST_END_S:
        return replace(whole, duration_s=0.0, fault=OUTSIDE)
    seconds = round(min(row.end_s, whole.duration_s) - row.start_s, 3)
    return replace(whole, duration_s=seconds, sha256=digest(whole.sha256, row.start_s, row.end_s))


def _limited(candidates: list[Row], data: Data, dropped: dict[str, list[str]]) -> list[Row]:
    """What can be report without audio: text, language, the limit."""
    wanted = []
    for row in candidates:
        if not re.search(r"\w", row.text):
            dropped.setdefault("without text", []).append(row.id)
        elif row.language and not _same_language(row.language, data.language):
            dropped.setdefault(f"in {row.language}, not {data.language}", []).append(row.id)
        else:
            wanted.append(row)
    return wanted[: data.limit]


def _same_language(one: str, other: str) -> bool:
    """Codes are compared; a name, such as `Malagasy`, is not report from another and passes."""
    codes = [re.split(r"[-_]", code.lower())[0] for code in (one, other)]
    return len(codes[0]) > 3 or ISO_639_3.get(codes[0], codes[0]) == ISO_639_3.get(codes[1], codes[1])


def _fault(size: Measured, data: Data) -> str:
    if size.fault == OUTSIDE:
        return f"with a segment {OUTSIDE}"
    if size.fault == "outside":
        return "with an audio file outside its folder and MILO_AUDIO_ROOTS"
    if size.fault:
        return "with a missing audio file" if size.fault == "missing" else f"with unreadable audio ({size.fault})"
    if size.duration_s < data.min_audio_s:
        return f"shorter than {data.min_audio_s:g} s"
    return f"longer than {data.max_audio_s:g} s" if size.duration_s > data.max_audio_s else ""
