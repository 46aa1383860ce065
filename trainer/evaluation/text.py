"""The rows of a translation evaluation: the held-out pairs of a file through the engine that serves, by sacrebleu.

Corpus scores are chrF2 (Popović 2015) and BLEU, 0 to 100; rows carry the chrF of their sentence, for comparisons.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from milo.engines.runtime.devices import ct2_device
from milo.errors import Invalid
from milo.jobs import Progress
from milo.recipes import Data, Evaluation
from milo.settings import Settings
from milo.training.data.pairs import pair_splits
from milo.training.data.splits import Split
from milo.training.datasets import places_of
from milo.training.evaluations import INSUFFICIENT, Stored
from milo.training.statistics import ratio_interval
from trainer.evaluation.engines import Engines
from trainer.evaluation.plan import Document, Items, Method, Plan
from trainer.loop.background import ReportProgress

BATCH = 64


@dataclass(frozen=True)
class Sentence:
    """One held-out pair in one direction."""

    id: str
    source: str
    text: str
    """The reference."""


def load(settings: Settings, data: Data, evaluation: Evaluation, report: ReportProgress | None = None) -> Items:
    """The pairs of a split that training holds out. Raises `Invalid`."""
    sentences = heldout_sentences(settings, data, evaluation.split)
    content = json.dumps([[one.source, one.text] for one in sentences], ensure_ascii=False)
    return Items(sentences, hashlib.sha256(content.encode()).hexdigest())


def heldout_sentences(settings: Settings, data: Data, split: Split = "test") -> list[Sentence]:
    splits = pair_splits(data, places_of(settings, data))
    heldout = splits.validation if split == "validation" else splits.test
    sentences = []
    for pair in heldout:
        sides = dict(zip(pair.languages, pair.texts, strict=True))
        if data.language not in sides or data.target_language not in sides:
            raise Invalid(
                f"data.language and data.target_language are {data.language} and {data.target_language};"
                f" {data.source} has {' and '.join(pair.languages)}",
                code="bad_data",
            )
        source, target = sides[data.language], sides[data.target_language]
        sentences.append(Sentence(hashlib.sha256(f"{source}\t{target}".encode()).hexdigest()[:16], source, target))
    return sentences


def decode_settings(settings: Settings, data: Data, evaluation: Evaluation) -> Document:
    return {
        "source": data.language,
        "target": data.target_language,
        "beam_size": settings.translate_beam_size,
        "compute_type": settings.translate_compute_type,
        "device": ct2_device(settings),
    }


def decode(plan: Plan, stored: Stored, engines: Engines) -> Iterator[Progress]:
    """Append a row for each pair that has none."""
    from sacrebleu.metrics import CHRF

    decoded, chrf = stored.rows(), CHRF()
    todo = [item for item in plan.items if item.id not in decoded]
    for start in range(0, len(todo), BATCH):
        part = todo[start : start + BATCH]
        started = time.monotonic()
        with engines.translator(plan.pinned) as engine:
            translations = engine.translate([one.source for one in part], plan.data.language, plan.data.target_language)
        share_s = (time.monotonic() - started) / len(part)
        stored.append([_row(one, text, chrf, share_s) for one, text in zip(part, translations, strict=True)])
        yield Progress(done=len(plan.items) - len(todo) + start + len(part), total=len(plan.items), unit="items")


def _row(item: Sentence, text: str, chrf: Any, latency_s: float) -> Document:
    score = float(chrf.sentence_score(text, [item.text]).score)
    return {
        "id": item.id,
        "speaker": None,
        "source": item.source,
        "ref": item.text,
        "hyp": text,
        "ref_scored": item.text,
        "chrf": score,
        "chrf_loss": 1 - score / 100,
        "one": 1,
        "exact": text.strip() == item.text.strip(),
        "latency_s": round(latency_s, 6),
    }


def summarise(rows: Sequence[Document]) -> Document:
    """chrF and BLEU of the whole, the share of exact ones, and the interval of the mean sentence chrF (0 to 100)."""
    from sacrebleu.metrics import BLEU, CHRF

    if not rows:
        return {
            "status": INSUFFICIENT,
            "metric": "chrf",
            "reason": "no pair is held out",
            "chrf": None,
            "bleu": None,
            "exact": None,
            "items": 0,
        }
    texts, references = [row["hyp"] for row in rows], [[row["ref"] for row in rows]]
    loss = ratio_interval(rows, "chrf_loss", "one")
    return {
        "status": "ok",
        "metric": "chrf",
        "chrf": float(CHRF().corpus_score(texts, references).score),
        "bleu": float(BLEU().corpus_score(texts, references).score),
        "exact": float(np.mean([row["exact"] for row in rows])),
        "mean_sentence_chrf": float(np.mean([row["chrf"] for row in rows])),
        "interval": loss and {**loss, "low": 100 - 100 * loss["high"], "high": 100 - 100 * loss["low"]},
        "items": len(rows),
        "scored": len(rows),
    }


METHOD = Method(load, decode_settings, decode, summarise)
