"""What a Whisper training needs before it loads a model: base, data, plan. Done in a thread, without a GPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from milo.engines.whisper.checkpoint import load_checkpoint
from milo.errors import Invalid
from milo.models.configuration import require_transformers
from milo.models.registry import ResolvedModel
from milo.recipes import Recipe
from milo.settings import Settings
from milo.training.data import leaks
from milo.training.runs import Run
from trainer.data import load, replay
from trainer.data.judged import suite_leaks
from trainer.data.load import Dataset
from trainer.loop import run_record
from trainer.loop.base import pinned
from trainer.whisper.features import Labels
from trainer.whisper.plan import Plan, Windows


@dataclass(frozen=True)
class Prepared:
    """All that a training needs before it loads a model."""

    base: ResolvedModel
    labels: Labels
    plan: Plan
    windows: Windows
    validation: Dataset
    document: dict[str, Any]
    """dataset.json"""


def prepare(settings: Settings, recipe: Recipe, run: Run, report: load.ReportProgress | None = None) -> Prepared:
    """Find the base model, read the data, plan the batches, and write down where all of it came from."""
    base = pinned(settings, recipe.model, run)
    require_transformers(base.path, base.name, "training needs")
    checkpoint = load_checkpoint(settings, base)
    info = checkpoint.info
    labels = Labels(checkpoint, recipe.data.language)
    windows = Windows(info.min_window_s, info.max_window_s, info.pack_window_s)
    if recipe.data.max_audio_s > windows.longest_s:
        limits = recipe.data.model_copy(update={"max_audio_s": windows.longest_s})
        recipe = recipe.model_copy(update={"data": limits})
    splits = load.load_all(settings, recipe.data, ("train", "validation"), report)
    train, replayed = _with_old(settings, recipe, run, splits, report)
    judged_by = suite_leaks(settings, train, recipe.data)
    leaks.refuse_audio(judged_by, recipe.data)
    fitting, tokens = _that_fit(train, labels)
    plan = Plan(fitting, recipe.training, windows, tokens, labels.limit)
    run_record.describe(run, recipe)
    more = replayed | {"shared_with_suites": [str(leak) for leak in judged_by]}
    document = load.write_document(run.path / "dataset.json", recipe.data, [fitting, splits["validation"]], **more)
    return Prepared(base, labels, plan, windows, splits["validation"], document)


def _with_old(
    settings: Settings, recipe: Recipe, run: Run, splits: dict[str, Dataset], report: load.ReportProgress | None
) -> tuple[Dataset, dict[str, Any]]:
    """The training split with old rows mixed in, and what dataset.json says of them. Raises `Invalid` where a guard
    set's held-out audio is among the training rows."""
    train = splits["train"]
    if not replay.sets_of(settings, recipe, run):
        return train, {}
    judged = [splits["validation"], load.load_to_judge(settings, recipe.data, recipe.evaluation.split, report)]
    old = replay.old_items(settings, recipe, train, judged, run, report)
    leaks.refuse_audio(replay.leaks_of(train, old), recipe.data)
    mixed = Dataset(train.split, [*train, *old.rows], train.dropped, train.unreadable, train.wrong_length)
    return mixed, {"replay": old.document(len(mixed))}


def _that_fit(found: Dataset, labels: Labels) -> tuple[Dataset, list[int]]:
    """Examples whose text the decoder has room for, and the tokens of each text."""
    counts = [len(labels.text(item.text)) for item in found]
    long = [item.id for item, count in zip(found, counts, strict=True) if count > labels.limit]
    if long:
        dropped = {**found.dropped, f"with more than {labels.limit} tokens of text": long}
        found = Dataset(found.split, [item for item in found if item.id not in set(long)], dropped)
        counts = [count for count in counts if count <= labels.limit]
    if not counts:
        raise Invalid("every text of the training split is too long for the model's decoder", code="bad_data")
    return found, counts
