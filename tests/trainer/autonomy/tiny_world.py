"""Worlds of made-up rows: speakers, utterances, checkpoints with a given error rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from milo.recipes import Data, Evaluation, Recipe
from milo.settings import Settings
from milo.training import suites
from milo.training.suites import Member, Suite
from trainer.autonomy.suite import deal, sizes
from trainer.autonomy.world import Judged, World

RECIPE = Recipe.model_validate(
    {
        "name": "tiny",
        "task": "whisper",
        "model": "milo-tiny-mg",
        "data": {"source": "synthetic"},
        "training": {"max_steps": 1},
    }
)
WORDS = 10


@lru_cache(maxsize=32)
def suite_of(speakers: int, utterances: int) -> Suite:
    parts = deal([float(n) for n in range(speakers)], sizes(speakers))
    members = [
        Member(
            id=f"u{n}",
            part=parts[n % speakers],
            audio=f"a{n}",
            recording=f"a{n}",
            text=f"t{n}",
            speaker=f"s{n % speakers}",
        )
        for n in range(utterances)
    ]
    counts = sizes(speakers)
    why = {name: f"there are {speakers} speakers, too few for this part" for name in counts if not counts[name]}
    return suites.new("key", "whisper", Data(source="synthetic"), Evaluation(), "d", members, why_empty=why)


class Errors:
    """Words that a model gets wrong: a checkpoint errs where the model before did, but for some words."""

    def __init__(self, utterances: int, rate: float = 0.2, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.threshold = self.rng.random((utterances, WORDS))
        self.rate, self.utterances = rate, utterances

    def counts(self, more: float = 0.0, shuffled: float = 0.1) -> np.ndarray:
        """Errors of each utterance at `rate + more`; a share of the words is drawn anew."""
        again = self.rng.random(self.threshold.shape) < shuffled
        drawn = np.where(again, self.rng.random(self.threshold.shape), self.threshold)
        return (drawn < self.rate + more).sum(1)


def judged(
    name: str, errors: Sequence[int] | np.ndarray, speakers: int, loss: float | None = 0.5, **more: Any
) -> Judged:
    rows: dict[str, dict[str, Any]] = {}
    for n, count in enumerate(errors):
        rows[f"u{n}"] = {
            "id": f"u{n}",
            "speaker": f"s{n % speakers}",
            "duration_s": 2.0,
            "errors": int(count),
            "ref_words": WORDS,
            "ref_scored": " ".join(f"w{n}x{at}" for at in range(WORDS)),
            "hyp_scored": " ".join(("zz" if at < count else f"w{n}x{at}") for at in range(WORDS)),
            "hyp": "x",
            "ref": "x",
            "cross_entropy": None if loss is None else loss * WORDS,
            "tokens": WORDS,
            "mean_logprob": -0.2,
            "snr_db": 10.0 + n % 30,
            "rate": 2.0 + n % 3,
            "compression_ratio": 1.2,
            "latency_s": 0.01,
        } | {key: value(n) if callable(value) else value for key, value in more.items()}
    report = {
        "key": f"{abs(hash((name, tuple(map(int, errors))))):032x}"[:32],
        "status": "ok",
        "metric": "wer",
        "normaliser": "milo-3",
        "loss": loss,
        "compute_s": 1.0,
        "audio_s": 2.0 * len(rows),
        "data": {"sha256": "d", "source": "synthetic", "split": "test"},
        "model": {"label": name, "path": name},
    }
    return Judged(name, report, rows)


def world_of(settings: Settings, checkpoints: Sequence[Judged], speakers: int, utterances: int, **more: Any) -> World:
    return World(settings, RECIPE, "run-1", suite_of(speakers, utterances), checkpoints, **more)


def remembered(fields: Mapping[str, Any], state: str = "ok", reason: str = "") -> dict[str, Any]:
    return {**fields, "run_id": "run-1", "state": state, "reason": reason}


def deploy_job(**more: Any) -> dict[str, Any]:
    """A deploy that went through, as the ledger has it."""
    sides = {"before": {"wer": 0.3}, "after": {"wer": 0.2}}
    result = {
        "deployed": True,
        "name": "ours",
        "version": "v2",
        "before": "v1",
        "comparison": {"verdict": "better", "difference": -0.1, "interval": {"low": -0.2, "high": -0.05}, **sides},
        "guard": {"sets": [{"name": "old", "verdict": "not worse", "difference": 0.0, "interval": {"high": 0.01}}]},
        "smoke": ["teny"],
    }
    payload = {"model": "ours", "path": "/runs/r/checkpoint-2"}
    job = {"id": "job_9", "kind": "deploy", "state": "succeeded", "finished_at": 1000.0, "payload": payload}
    return {**job, "result": result, "error": None, **more}
