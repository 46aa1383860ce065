"""Which rows of a source are the training, the validation and the test split of a recipe."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Literal, TypeVar

from milo.errors import Invalid
from milo.models.files import near
from milo.recipes import Data
from milo.training.data.layouts import VALIDATION_NAMES
from milo.training.data.row import ALL, Row, Splits, wrong

Split = Literal["train", "validation", "test"]
T = TypeVar("T")


def choose(parts: Splits, data: Data, split: Split) -> list[Row]:
    """The rows of a split. A source without a validation split gives a share of its training rows, by hash of text."""
    names = data.splits
    if set(parts) == {ALL}:
        parts = {names.train: parts[ALL]}
    if names.train not in parts and split != "test":
        raise _no_split(names.train, list(parts), "train", data.source)
    if split == "test":
        own = own_split(parts, names.test, "test", data.source)
        return own if own is not None else choose(parts, data, "validation")
    own = own_split(parts, validation_name(parts, data), "validation", data.source)
    if own is not None and split == "validation":
        return own
    if own is not None:
        return parts[names.train]
    return _share(parts[names.train], data.validation_share, split)


def validation_name(parts: Mapping[str, object], data: Data) -> str | None:
    """The recipe's name for it, or the one of those in use that the set has."""
    name, taken = data.splits.validation, (data.splits.train, data.splits.test)
    if name != VALIDATION_NAMES[0] or name in parts:
        return name
    return next((one for one in VALIDATION_NAMES if one in parts and one not in taken), name)


def own_split(parts: Mapping[str, list[T]], name: str | None, role: str, source: str) -> list[T] | None:
    """Rows of the split that was named; None: there is none. The default names need not exist."""
    if name is None or name in parts:
        return parts[name] if name else None
    if name == role:
        return None
    raise _no_split(name, list(parts), role, source)


def _share(rows: list[Row], share: float, split: Split) -> list[Row]:
    """Equal texts stay together, and equal audio, so that nothing of validation was trained on."""
    keys = {text: hashlib.sha256(text.encode()).digest() for text in {row.text.casefold() for row in rows}}
    ordered = sorted(keys, key=lambda text: keys[text])
    held_out = set(ordered[: max(1, round(len(ordered) * share))]) if len(ordered) > 1 else set()
    heard = {_audio_of(row) for row in rows if row.text.casefold() in held_out and row.state}
    return [
        row for row in rows if (row.text.casefold() in held_out or _audio_of(row) in heard) == (split == "validation")
    ]


def _audio_of(row: Row) -> tuple[str, float, float | None]:
    return row.state, row.start_s, row.end_s


def _no_split(name: str, have: list[str], field: str, source: str) -> Invalid:
    return wrong(f"splits.{field}", f"{source} has no split {name!r}; it has {', '.join(have)}.{near(name, have)}")
