"""What a training would learn from, told before it is queued: `milo train RECIPE --check`. Trains nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from milo.engines.nllb import checkpoint as nllb
from milo.engines.whisper import checkpoint as whisper
from milo.errors import Invalid, ModelUnavailable
from milo.models import registry
from milo.recipes import TASKS, Recipe
from milo.settings import Settings
from milo.training import datasets
from milo.training.data.leaks import Leak, refuse_audio
from milo.training.data.pairs import TextPair, pair_splits
from trainer.data import replay
from trainer.data.judged import suite_leaks
from trainer.data.load import Dataset, read_splits, shared
from trainer.data.replay import told
from trainer.nllb.examples import both_directions
from trainer.whisper.features import Labels

LABELS = 3


@dataclass(frozen=True)
class Report:
    """What is in the data of a recipe. `str` is for people."""

    read_as: str
    splits: Mapping[str, Mapping[str, Any]]
    """As in dataset.json."""
    labels: list[str]
    """The first labels of the training split as the model sees them."""
    leaks: list[Leak] = field(default_factory=list)
    replay: Mapping[str, Any] | None = None
    """Old rows that are mixed in, as in dataset.json; None: nothing guards the base model."""
    refused: str = ""
    """Why a training would be refused; empty: it would not."""

    def document(self) -> dict[str, Any]:
        leaks = [
            {"what": one.what, "splits": one.splits, "count": one.count, "such_as": one.such_as} for one in self.leaks
        ]
        return {
            "read_as": self.read_as,
            "splits": dict(self.splits),
            "labels": self.labels,
            "leaks": leaks,
            "replay": self.replay,
            "refused": self.refused or None,
        }

    def __str__(self) -> str:
        lines = [f"read as {self.read_as}"]
        for name, split in self.splits.items():
            lines.append(f"{name}: {_counts(split)}")
            for why, dropped in split.get("dropped", {}).items():
                lines.append(f"  {dropped['rows']} left out {why}, such as {', '.join(dropped['such_as'][:3])}")
        if self.replay is not None:
            lines.append(f"replay: {told(self.replay)}")
        lines += [f"label: {label}" for label in self.labels]
        lines += [f"shared: {leak}" for leak in self.leaks] or ["shared between splits: nothing"]
        lines.append(f"refused: {self.refused}" if self.refused else "this can be trained on")
        return "\n".join(lines)


def _counts(split: Mapping[str, Any]) -> str:
    if "seconds" not in split:
        return f"{split['items']} pairs"
    speakers = split.get("speakers")
    who = f"{speakers} speaker{'s' if speakers > 1 else ''}" if speakers else "speakers not told"
    seconds = split["seconds"]
    length = f"{seconds / 3600:.2f} h" if seconds >= 600 else f"{seconds / 60:.2f} min"
    return f"{split['items']} rows, {length}, {who}"


def check(settings: Settings, recipe: Recipe) -> Report:
    """Read the data of a recipe as its training will, audio and all. Raises `Invalid` for what can't be read."""
    if TASKS[recipe.task].examples == "pairs":
        return _check_pairs(settings, recipe)
    sets = read_splits(settings, recipe.data, ("train", "validation", "test"))
    leaks, old = shared(sets), None
    if sets["train"].items and replay.sets_of(settings, recipe):
        found = replay.old_items(settings, recipe, sets["train"], [sets["validation"], sets["test"]])
        mixed = Dataset("train", [*sets["train"], *found.rows])
        leaks += replay.leaks_of(mixed, found)
        old = found.document(len(mixed))
    leaks += suite_leaks(settings, sets["train"], recipe.data)
    if [item.id for item in sets["validation"]] == [item.id for item in sets["test"]]:
        del sets["test"]
    documents = {name: one.document() for name, one in sets.items()}
    train = sets["train"]
    labels, refused = _labels(settings, recipe, train), _refusal(sets, leaks, recipe)
    return Report(train.read_as, documents, labels, leaks, old, refused)


def _refusal(sets: Mapping[str, Dataset], leaks: list[Leak], recipe: Recipe) -> str:
    for one in sets.values():
        if not one.items:
            return f"no usable row is left in the split {one.split} ({one.why_empty})"
    try:
        refuse_audio(leaks, recipe.data)
    except Invalid as error:
        return error.detail
    return ""


def _labels(settings: Settings, recipe: Recipe, train: Dataset) -> list[str]:
    texts = [item.text for item in train[:LABELS]]
    if recipe.task != "whisper":
        return texts
    try:
        labels = Labels(
            whisper.load_checkpoint(settings, registry.resolve(settings, recipe.model)), recipe.data.language
        )
    except ModelUnavailable as error:
        return [*texts, f"(not as tokens: {error.detail})"]
    decode = labels.checkpoint.tokenizer.decode
    return [str(decode(labels(text), skip_special_tokens=False)) for text in texts]


def _check_pairs(settings: Settings, recipe: Recipe) -> Report:
    splits = pair_splits(recipe.data, datasets.places_of(settings, recipe.data))
    parts = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    if splits.test is splits.validation:
        del parts["test"]
    documents = {name: {"items": len(pairs)} for name, pairs in parts.items()}
    leaks = []
    for name in list(parts)[1:]:
        known = {text: text for pair in parts["train"] for text in pair.texts}
        rows = [text for pair in parts[name] for text in pair.texts[:1] if text in known]
        leaks += [Leak("text", ("train", name), len(rows), tuple(rows[:LABELS]))] if rows else []
    old = replay.old_pairs(settings, recipe, splits.train)[1] if replay.sets_of(settings, recipe) else None
    return Report("pairs", documents, _pair_labels(settings, recipe, splits.train), leaks, old)


def _pair_labels(settings: Settings, recipe: Recipe, pairs: list[TextPair]) -> list[str]:
    try:
        checkpoint = nllb.load_checkpoint(settings, registry.resolve(settings, recipe.model))
    except ModelUnavailable as error:
        return [*(" -> ".join(pair.texts) for pair in pairs[:LABELS]), f"(not as tokens: {error.detail})"]
    examples = both_directions(pairs[:LABELS], checkpoint)[::2]
    names = {token: name for name, token in checkpoint.token_of.items()}

    def shown(side: list[int]) -> str:
        return f"{names.get(side[0], side[0])} {checkpoint.tokenizer.decode(side[1:], skip_special_tokens=False)}"

    return [f"{shown(one.source)} -> {shown(one.target)}" for one in examples]
