"""Fine-tune NLLB by a recipe, as a generator of its steps, in the loop that voices share.

Of `recipe.training` it reads max_steps or epochs, batch_tokens, batch_size, gradient_accumulation, learning_rate,
scheduler, warmup_steps, weight_decay, max_grad_norm, seed, precision (fp32, bf16), log_steps, eval_steps, save_steps,
keep_best, keep_last, early_stop and replay. Both directions are trained, with label smoothing 0.1; the embeddings of a
large model stay as they are. The best checkpoint is the one with the highest chrF on held-out pairs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import torch

from milo.engines.nllb.checkpoint import load_checkpoint
from milo.engines.nllb.hf import HFBackend
from milo.engines.nllb.translator import NllbTranslator
from milo.errors import Invalid
from milo.models.files import write_durably
from milo.recipes import Recipe
from milo.settings import Settings
from milo.training.data.pairs import TextPair, pair_splits
from milo.training.datasets import places_of
from milo.training.runs import Run
from trainer.data import replay
from trainer.evaluation.chrf import chrf
from trainer.loop import loop, run_record, state
from trainer.loop.base import device_of, pinned
from trainer.loop.seeding import seeded
from trainer.loop.step import Step
from trainer.loop.trainable import StepResult
from trainer.nllb.examples import Example, batches_of, both_directions, endless
from trainer.nllb.model import load_model, save_model
from trainer.nllb.step import learning_rate, one_step, optimizer_of

MOST_PAIRS, CHUNK = 64, 8
"""Held-out pairs that an evaluation in training translates, each way; and those translated between two yields."""
MODEL_STATE = "training/model.safetensors"


def train(settings: Settings, recipe: Recipe, run: Run) -> Generator[Step, None, dict[str, Any]]:
    """Train until the recipe's end; see `trainer.loop.loop.train`.

    Raises `Invalid` for pairs or a recipe that can't be used, `ModelUnavailable` for a base that can't be loaded.
    """
    return (yield from loop.train(recipe, run, lambda: TranslationTraining(settings, recipe, run)))


class TranslationTraining:
    """A `trainer.loop.trainable.Trainable`."""

    best_by, sign = "eval/chrf", -1
    panels: tuple[run_record.Panel, ...] = ((("train/loss",), 1, "loss"), (("eval/chrf",), 1, "chrF"))

    def __init__(self, settings: Settings, recipe: Recipe, run: Run) -> None:
        self.settings, self.recipe, self.run, self.options = settings, recipe, run, recipe.training
        self.device = device_of(settings)
        if self.options.precision == "fp16":
            raise Invalid("training.precision: fp16 is not used for nllb; use bf16 or fp32", code="bad_recipe")
        splits = pair_splits(recipe.data, places_of(settings, recipe.data))
        old, replayed = replay.old_pairs(settings, recipe, splits.train, run)
        pairs, heldout = [*splits.train, *old], splits.validation
        self.heldout = heldout[:MOST_PAIRS]
        self.checkpoint = load_checkpoint(settings, pinned(settings, recipe.model, run))
        self.examples = both_directions(pairs, self.checkpoint)
        self.document = self._describe({"train": pairs, "validation": heldout}, {"replay": replayed} if old else {})
        micro = sum(1 for _ in self._cut(iter(self.examples)))
        self._steps_an_epoch = micro / self.options.gradient_accumulation
        """About: batches are cut from a stream of examples that goes on over the end of an epoch."""
        self.total = self.options.max_steps or max(1, round((self.options.epochs or 0) * self._steps_an_epoch))
        self._taken = 0
        self._stream: Iterator[list[Example]] = iter(())

    def reset(self) -> None:
        self.__dict__.pop("model", None)  # its memory is needed for the next one
        self.model: Any = load_model(self.checkpoint, self.device)
        self.optimizer = optimizer_of(self.model, self.options.weight_decay)
        self.translator = NllbTranslator(self.checkpoint, HFBackend(self.model, self.checkpoint), beam_size=1)

    def step(self, number: int, factor: float, splits: int) -> StepResult:
        count = self.options.gradient_accumulation
        batches = self._batches(number * count, count)
        rate = learning_rate(self.options, number, self.total) * factor
        parts = [part for batch in batches for part in _in_parts(batch, splits)]
        with seeded(f"{self.options.seed}/{number}/{factor}", self.device):
            loss = one_step(self.model, self.optimizer, parts, self.options, rate, self.checkpoint)
        tokens = sum(len(example) for batch in batches for example in batch)
        epoch = (number + 1) / self._steps_an_epoch
        return StepResult(
            loss, {"perf/tokens_per_step": float(tokens)}, {"train/learning_rate": rate, "train/epoch": epoch}
        )

    def evaluate(self) -> Generator[None, None, dict[str, float]]:
        """chrF of each direction, a few sentences between two yields."""
        self.model.eval()
        translations: dict[tuple[str, str], list[tuple[str, str]]] = {}
        for one, other in ((0, 1), (1, 0)):
            for start in range(0, len(self.heldout), CHUNK):
                for direction, pairs in _by_direction(self.heldout[start : start + CHUNK], one, other).items():
                    hypotheses = self.translator.translate([text for text, _ in pairs], *direction)
                    references = [reference for _, reference in pairs]
                    translations.setdefault(direction, []).extend(zip(hypotheses, references, strict=True))
                yield
        scores = {direction: chrf(*map(list, zip(*rows, strict=True))) for direction, rows in translations.items()}
        by_direction = {f"eval/chrf_{source}-{target}": score for (source, target), score in sorted(scores.items())}
        return {"eval/chrf": sum(scores.values()) / len(scores), **by_direction}

    def sample(self, number: int) -> str:
        """preds/step-N.jsonl: a few held-out sentences, their reference translation and the model's."""
        self.model.eval()
        rows = []
        for pair in self.heldout[:CHUNK]:
            hypothesis = self.translator.translate([pair.texts[0]], *pair.languages)[0]
            rows.append({"source": pair.texts[0], "ref": pair.texts[1], "hyp": hypothesis})
        folder = self.run.path / "preds"
        folder.mkdir(exist_ok=True)
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_durably(folder / f"step-{number}.jsonl", text)
        return ""

    def movable(self) -> list[tuple[Any, torch.optim.Optimizer]]:
        return [(self.model, self.optimizer)]

    def save(self, folder: Path) -> None:
        save_model(self.model, self.checkpoint, self.settings, folder)
        (folder / "training").mkdir()
        state.save(folder / MODEL_STATE, self.model, self.optimizer, 0)

    def load(self, folder: Path) -> None:
        state.load(folder / MODEL_STATE, self.model, self.optimizer)

    # --- data ---

    def _batches(self, first: int, count: int) -> list[list[Example]]:
        """Micro-batches number `first` and so on: the same for a seed, wherever a training goes on."""
        if first < self._taken or not self._taken:
            self._stream, self._taken = self._cut(endless(self.examples, self.options.seed)), 0
        for _ in range(first - self._taken):
            next(self._stream)
        self._taken = first + count
        return [next(self._stream) for _ in range(count)]

    def _cut(self, examples: Iterator[Example]) -> Iterator[list[Example]]:
        for batch in batches_of(examples, self.options.batch_tokens):
            yield from (
                batch[at : at + self.options.batch_size] for at in range(0, len(batch), self.options.batch_size)
            )

    def _describe(self, parts: dict[str, list[TextPair]], more: dict[str, Any]) -> dict[str, Any]:
        """dataset.json."""
        splits = {}
        for name, pairs in parts.items():
            content = json.dumps([pair.texts for pair in pairs], ensure_ascii=False)
            splits[name] = {
                "sha256": hashlib.sha256(content.encode()).hexdigest(),
                "items": len(pairs),
                "seconds": 0.0,
            }
        document = {"source": self.recipe.data.source, "splits": splits, **more}
        write_durably(self.run.path / "dataset.json", json.dumps(document, indent=1))
        return document


def _in_parts(batch: list[Example], parts: int) -> Iterator[list[Example]]:
    size = max(1, -(-len(batch) // parts))
    yield from (batch[at : at + size] for at in range(0, len(batch), size))


def _by_direction(pairs: list[TextPair], one: int, other: int) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """(source language, target language) -> (text, reference), from side `one` of each pair to side `other`."""
    directions: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for pair in pairs:
        direction = (pair.languages[one], pair.languages[other])
        directions.setdefault(direction, []).append((pair.texts[one], pair.texts[other]))
    return directions
