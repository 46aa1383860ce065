"""What a Whisper training needs before it loads a model: base, data, plan. Done in a thread, without a GPU."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from milo.engines.whisper.checkpoint import load_checkpoint
from milo.errors import Invalid, ModelUnavailable
from milo.models import registry
from milo.models.files import read_json, write_durably
from milo.models.registry import ResolvedModel
from milo.recipes import Recipe
from milo.settings import Settings
from milo.training.runs import Run
from trainer.data import load
from trainer.data.load import Dataset
from trainer.loop import run_record
from trainer.loop.gate import Stopped
from trainer.loop.step import Step
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


def in_background(work: Callable[[load.Told], Prepared]) -> Generator[Step, None, Prepared]:
    """Run `work` in a thread, which uses no GPU, and yield meanwhile."""
    found: list[Any] = []
    left = threading.Event()
    done = threading.Event()

    def told(_done: int, _total: int) -> None:
        if left.is_set():
            raise Stopped

    def run() -> None:
        try:
            found.append(work(told))
        except BaseException as error:
            found.append(error)
        done.set()

    threading.Thread(target=run, name="preparing", daemon=True).start()
    try:
        while not done.wait(0.1):
            yield Step(0, 0)
    finally:
        left.set()
    if isinstance(found[0], BaseException):
        raise found[0]
    prepared: Prepared = found[0]
    return prepared


def prepare(settings: Settings, recipe: Recipe, run: Run, told: load.Told | None = None) -> Prepared:
    """Find the base model, read the data, plan the batches, and write down where all of it came from."""
    base = pinned(settings, recipe.model, run)
    checkpoint = load_checkpoint(settings, base)
    info = checkpoint.info
    labels = Labels(checkpoint, recipe.data.language)
    windows = Windows(info.min_window_s, info.max_window_s, info.pack_window_s)
    if recipe.data.max_audio_s > windows.longest_s:
        limits = recipe.data.model_copy(update={"max_audio_s": windows.longest_s})
        recipe = recipe.model_copy(update={"data": limits})
    found = load.load_all(settings, recipe.data, ("train", "validation"), told)
    fitting, tokens = _that_fit(found["train"], labels)
    plan = Plan(fitting, recipe.training, windows, tokens, labels.limit)
    run_record.describe(run, recipe)
    document = load.write_document(run.path / "dataset.json", recipe.data, [fitting, found["validation"]])
    return Prepared(base, labels, plan, windows, found["validation"], document)


def pinned(settings: Settings, name: str, run: Run) -> ResolvedModel:
    """The base model, the same one however often the run starts: a deploy under its name meanwhile changes nothing.

    Raises `ModelUnavailable` when it is not here any more, or has been changed.
    """
    path = run.path / "base.json"
    if not path.is_file():
        base = registry.ensure(settings, name)
        write_durably(path, json.dumps({"name": base.name, "version": base.version, "kind": base.kind}))
        return base
    kept = read_json(path)
    begun = f"{kept['name']} {kept['version']}"
    try:
        base = registry.resolve(settings, name if kept["kind"] == "folder" else f"{kept['name']}@{kept['version']}")
    except ModelUnavailable as error:
        raise ModelUnavailable(f"run {run.id} began with {begun}, which is not here: {error.detail}") from None
    if base.version != kept["version"]:
        raise ModelUnavailable(f"run {run.id} began with {begun}, and its files have been changed; begin a new run")
    return base


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
