"""Replay: old data in a new training, so that a model that learns does not forget (Robins, Connection Science, 1995).

The old data are the training splits of the guard sets of the base model's name and of the name that is deployed to.
Which sets those were stays with the run: a deploy meanwhile changes nothing for a training that has begun. What a guard
or the recipe judges by is never trained on.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from milo.errors import Invalid
from milo.models.files import read_json, write_durably
from milo.recipes import Data, Recipe
from milo.settings import Settings
from milo.training import guard
from milo.training.data import leaks
from milo.training.data.pairs import PairSplits, TextPair, pair_splits
from milo.training.datasets import places_of
from milo.training.guard import Guard, GuardSet
from milo.training.runs import Run
from trainer.data.load import Dataset, Item, ReportProgress, load, load_to_judge, shared

SHARE = 0.5
"""Where the recipe says nothing. Measured: `docs/training.md`."""
KEPT = "replay.json"
T = TypeVar("T")


@dataclass(frozen=True)
class Old:
    """Old rows for a training, and what is held out of the same sets."""

    rows: list[Item] = field(default_factory=list)
    heldout: dict[str, Dataset] = field(default_factory=dict)
    """`guard NAME` -> what the set is judged by."""
    taken: dict[str, int] = field(default_factory=dict)
    """Guard set -> rows of it."""
    left_out: int = 0
    """Old rows that something is judged by."""

    def document(self, rows: int) -> dict[str, Any]:
        """What dataset.json says: `rows` is all of the training split."""
        return document_of(self.taken, rows, self.left_out)


def document_of(taken: dict[str, int], rows: int, left_out: int = 0) -> dict[str, Any]:
    count = sum(taken.values())
    return {"rows": count, "share": round(count / rows, 4) if rows else 0.0, "sets": taken, "left_out": left_out}


def told(document: Mapping[str, Any]) -> str:
    """`document` for people: `133 old rows of phrasebook, 25 % of the training`."""
    if not document["rows"]:
        return "no old rows"
    sets = ", ".join(name for name, rows in document["sets"].items() if rows)
    return f"{document['rows']} old rows of {sets}, {document['share']:.0%} of the training"


def sets_of(settings: Settings, recipe: Recipe, run: Run | None = None) -> list[GuardSet]:
    """The guard sets that a training of this recipe may not forget; the recipe's own data is none of them."""
    kept = run.path / KEPT if run else None
    if kept and kept.is_file():
        return list(Guard.model_validate(read_json(kept)).sets)
    names = dict.fromkeys([recipe.model, *([recipe.deploy.name] if recipe.deploy else [])])
    found: list[GuardSet] = []
    for one in (one for name in names for one in guard.read(settings, name).sets):
        if (
            one.task == recipe.task
            and not one.is_of(recipe.task, recipe.data)
            and one.data not in [o.data for o in found]
        ):
            found.append(one)
    if kept:
        write_durably(kept, Guard(sets=tuple(found)).model_dump_json(exclude_defaults=True))
    return found


def share_of(recipe: Recipe) -> float:
    asked = recipe.training.replay
    return SHARE if asked is None else asked


def old_items(
    settings: Settings,
    recipe: Recipe,
    train: Sequence[Item],
    judged: Iterable[Dataset],
    run: Run | None = None,
    report: ReportProgress | None = None,
) -> Old:
    """As many old utterances as make the recipe's share beside `train`. `judged`: what this recipe is judged by.

    Raises `Invalid` naming a guard set that can't be read.
    """
    sets = sets_of(settings, recipe, run)
    count = wanted(len(train), share_of(recipe))
    near = [one for one in sets if count or one.data.source != "synthetic"]  # nobody has made-up speech in a file
    heldout = {f"guard {one.name}": _read(one, lambda one=one: _heldout(settings, one, report)) for one in near}
    fitting = [one for one in sets if one.data.language == recipe.data.language]
    pools = {}
    for one in fitting if count else ():
        longest_s = min(one.data.max_audio_s, recipe.data.max_audio_s)
        data = one.data.model_copy(update={"max_audio_s": longest_s, "shared_audio": True})
        pools[one.name] = list(_read(one, lambda data=data: load(settings, data, "train", report)))
    kept = {item.sha256 for part in (*judged, *heldout.values()) for item in part}
    free = {name: [item for item in items if item.sha256 not in kept] for name, items in pools.items()}
    left_out = sum(map(len, pools.values())) - sum(map(len, free.values()))
    drawn = draw(free, count, recipe.training.seed)
    rows = [replace(item, id=f"replay/{name}/{item.id}") for name, items in drawn.items() for item in items]
    return Old(rows, heldout, {name: len(items) for name, items in drawn.items()}, left_out)


def leaks_of(train: Dataset, old: Old) -> list[leaks.Leak]:
    """What the training split shares with what a guard is judged by."""
    return [leak for name, part in old.heldout.items() for leak in shared({"train": train, name: part})]


def old_pairs(
    settings: Settings, recipe: Recipe, train: Sequence[TextPair], run: Run | None = None
) -> tuple[list[TextPair], dict[str, Any]]:
    """The same for translation: old pairs, and what dataset.json says of them."""
    sets = sets_of(settings, recipe, run)
    splits = {one.name: _read(one, lambda one=one: _pairs(settings, one.data)) for one in sets}
    own = _pairs(settings, recipe.data)
    kept = {pair for part in (own, *splits.values()) for pair in (*part.validation, *part.test)}
    pools = {name: [pair for pair in part.train if pair not in kept] for name, part in splits.items()}
    drawn = draw(pools, wanted(len(train), share_of(recipe)), recipe.training.seed)
    taken = {name: len(pairs) for name, pairs in drawn.items()}
    rows = [pair for pairs in drawn.values() for pair in pairs]
    return rows, document_of(taken, len(train) + len(rows))


def wanted(rows: int, share: float) -> int:
    """Old rows beside `rows` new ones."""
    return round(rows * share / (1 - share))


def draw(pools: dict[str, list[T]], count: int, seed: int) -> dict[str, list[T]]:
    """`count` of all pools together, as evenly as they allow; the same ones for a seed."""
    drawn: dict[str, list[T]] = {}
    left = count
    by_size = sorted((name for name, pool in pools.items() if pool), key=lambda name: (len(pools[name]), name))
    for at, name in enumerate(by_size):
        part = min(len(pools[name]), round(left / (len(by_size) - at)))
        drawn[name] = random.Random(f"replay/{seed}/{name}").sample(pools[name], part)
        left -= part
    return drawn


def _pairs(settings: Settings, data: Data) -> PairSplits:
    return pair_splits(data, places_of(settings, data))


def _heldout(settings: Settings, one: GuardSet, report: ReportProgress | None) -> Dataset:
    return load_to_judge(settings, one.data, one.evaluation.split, report)


def _read(one: GuardSet, reading: Any) -> Any:
    try:
        return reading()
    except Invalid as error:
        detail = f"the guard set {one.name} can't be read: {error.detail}. Bring its data back, or take it out with"
        raise Invalid(f"{detail} `milo models guard NAME --forget {one.name}`", code="bad_guard") from None
