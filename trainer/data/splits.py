"""Which rows of a source are the training, the validation and the test split of a recipe."""

from __future__ import annotations

import hashlib
from typing import Literal

from milo.errors import Invalid
from milo.models.files import near
from milo.recipes import Data
from milo.training.datasets import wrong
from trainer.data.row import ALL, Row, Splits

Split = Literal["train", "validation", "test"]


def choose(parts: Splits, data: Data, split: Split) -> list[Row]:
    """The rows of a split. A source without a validation split gives a share of its training rows, by hash of text."""
    names = data.splits
    if set(parts) == {ALL}:
        parts = {names.train: parts[ALL]}
    if names.train not in parts and split != "test":
        raise _no_split(names.train, list(parts), "train", data.source)
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
    raise _no_split(name, list(parts), role, source)


def _share(rows: list[Row], share: float, split: Split) -> list[Row]:
    """Equal texts stay together, so that no sentence of validation was trained on."""
    keys = {text: hashlib.sha256(text.encode()).digest() for text in {row.text.casefold() for row in rows}}
    ordered = sorted(keys, key=lambda text: keys[text])
    held_out = set(ordered[: max(1, round(len(ordered) * share))]) if len(ordered) > 1 else set()
    return [row for row in rows if (row.text.casefold() in held_out) == (split == "validation")]


def _no_split(name: str, have: list[str], field: str, source: str) -> Invalid:
    return wrong(f"splits.{field}", f"{source} has no split {name!r}; it has {', '.join(have)}.{near(name, have)}")
