"""Training milo-tiny-nllb at toy size."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch

from trainer.tiny import nllb

SHAPE = nllb.Shape(d_model=32, ffn=64, heads=2, layers=(1, 1))


def losses(out: Path) -> list[float]:
    return [json.loads(line)["train/loss"] for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_training_that_was_broken_off_goes_on_to_the_same_losses(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    options = nllb.schedule(steps=6, batch_tokens=400, peak_rate=2.5e-3, evaluate_steps=1, seed=0)

    untrained, checkpoint = nllb.build(options.seed, SHAPE, tmp_path / "model")

    def fit(out: Path, break_off_at: int | None = None) -> None:
        out.mkdir(exist_ok=True)

        def score() -> float:
            if len(scores) == break_off_at:
                raise KeyboardInterrupt
            scores.append(0.0)
            return 0.0

        scores: list[float] = []
        nllb.fit(copy.deepcopy(untrained), checkpoint, options, out, score)

    fit(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "broken off", break_off_at=3)
    fit(tmp_path / "broken off")
    assert losses(tmp_path / "broken off") == losses(tmp_path / "whole")
    assert len(losses(tmp_path / "whole")) == 6
    assert losses(tmp_path / "whole")[-1] < losses(tmp_path / "whole")[0]
