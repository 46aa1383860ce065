"""How good a Whisper is while it trains: loss, WER and CER on the validation split, batch by batch.

A quick look by greedy search without fallback; the judgement that decides a deploy is made on the serving engine.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from milo.engines.whisper.features import FRAMES_PER_S, log_mel
from milo.engines.whisper.hf import HFBackend
from milo.models.files import write_durably
from milo.recipes import Schedule
from milo.training.runs import Run
from milo.training.scoring import scored_pair
from trainer.data.load import Dataset, Item
from trainer.whisper.features import IGNORE, Labels, stacked
from trainer.whisper.model import bare, logits_of
from trainer.whisper.plan import Windows


@dataclass(frozen=True)
class Validation:
    """What is judged, and with what."""

    dataset: Dataset
    labels: Labels
    windows: Windows
    schedule: Schedule
    run: Run
    most: int | None = None
    beam_size: int = 1

    def __call__(
        self, model: Any, step: int, autocast: Callable[[], AbstractContextManager[Any]], pause: Callable[[], None]
    ) -> dict[str, float]:
        """`loss`, `wer`, `cer` of the split; writes preds/step-N.jsonl. `pause` is called between batches."""
        was_training = model.training
        model.eval()
        rows: list[dict[str, Any]] = []
        total, tokens = 0.0, 0
        try:
            with torch.no_grad():
                for items, window_s in self._batches():
                    with autocast():
                        loss, count, texts = self._batch(bare(model), items, window_s)
                    total, tokens = total + loss, tokens + count
                    pairs = zip(items, texts, strict=True)
                    rows += [
                        {"id": one.id, "speaker": one.speaker, "ref": one.text, "hyp": text} for one, text in pairs
                    ]
                    pause()
        finally:
            model.train(was_training)
        self._write(step, rows)
        return {"loss": total / max(1, tokens), **error_rates(rows, self.labels.language)}

    def _batches(self) -> Iterator[tuple[list[Item], float]]:
        items = sorted(
            self.dataset[: self.most] if self.most else self.dataset, key=lambda one: (one.duration_s, one.id)
        )
        held: list[Item] = []
        for item in items:
            window_s = self.windows.for_length(item.duration_s)
            if held and (
                len(held) >= self.schedule.batch_size or (len(held) + 1) * window_s > self.schedule.batch_audio_s
            ):
                yield held, self.windows.for_length(held[-1].duration_s)
                held = []
            held.append(item)
        if held:
            yield held, self.windows.for_length(held[-1].duration_s)

    def _batch(self, model: Any, items: list[Item], window_s: float) -> tuple[float, int, list[str]]:
        """(summed cross entropy, label tokens, texts)"""
        checkpoint, frames = self.labels.checkpoint, round(window_s * FRAMES_PER_S)
        features = np.stack([log_mel(item.audio(), frames, checkpoint.n_mels) for item in items])
        device = model.device
        labels = stacked([self.labels(item.text) for item in items])
        logits = logits_of(model, torch.from_numpy(features).to(device), labels.to(device))
        loss = F.cross_entropy(logits.flatten(0, 1), labels.to(device).flatten(), ignore_index=IGNORE, reduction="sum")
        counted = int(labels.ne(IGNORE).sum())
        longest = int(labels.ne(IGNORE).sum(1).max())
        return float(loss), counted, self._texts(model, features, 2 * longest + 8)

    def _texts(self, model: Any, features: Any, most: int) -> list[str]:
        from transformers import GenerationConfig

        checkpoint = self.labels.checkpoint
        start = [checkpoint.sot, *self.labels.head]
        backend = HFBackend(model, checkpoint, features.size)
        own, model.generation_config = model.generation_config, GenerationConfig()
        try:
            encoded = backend.encode(features)
            most = min(checkpoint.max_tokens, most)
            found = backend.generate(encoded, [start] * len(features), most, self.beam_size, 0.0)
        finally:
            model.generation_config = own
        return [checkpoint.decode(checkpoint.text_tokens(one.tokens)).strip() for one in found]

    def _write(self, step: int, rows: list[dict[str, Any]]) -> None:
        folder = self.run.path / "preds"
        folder.mkdir(exist_ok=True)
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_durably(folder / f"step-{step}.jsonl", text)


def error_rates(rows: list[dict[str, Any]], language: str = "mg") -> dict[str, float]:
    """`wer` and `cer`, fractions, over all rows with a reference."""
    import jiwer

    pairs = [scored_pair(row["ref"], row["hyp"], language) for row in rows]
    pairs = [pair for pair in pairs if pair[0]]
    if not pairs:
        return {}
    references, heard = [ref for ref, _ in pairs], [hyp for _, hyp in pairs]
    return {"wer": float(jiwer.wer(references, heard)), "cer": float(jiwer.cer(references, heard))}
