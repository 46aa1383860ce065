"""The loop that voices and translation share, with something to train that only has losses."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import torch

from milo.errors import MiloError
from milo.recipes import Recipe, check
from milo.training.runs import Run
from trainer.loop import loop
from trainer.loop.run_record import Panel
from trainer.loop.trainable import StepResult


class Losses:
    """A `Trainable` whose step `n` has the loss `losses[n]`."""

    device, best_by, sign = torch.device("cpu"), "eval/loss", 1
    panels: tuple[Panel, ...] = ()
    document: dict[str, Any] = {"splits": {}, "source": "nowhere"}

    def __init__(self, losses: list[float]) -> None:
        self.losses, self.total = losses, len(losses)

    def reset(self) -> None: ...

    def save(self, folder: Path) -> None: ...

    def load(self, folder: Path) -> None: ...

    def step(self, number: int, factor: float, splits: int) -> StepResult:
        return StepResult(self.losses[number])

    def evaluate(self) -> Generator[None, None, dict[str, float]]:
        yield
        return {"eval/loss": 1.0}

    def movable(self) -> list[Any]:
        return []

    def sample(self, number: int) -> str:
        return ""


def recipe(task: str, steps: int) -> Recipe:
    training = {"max_steps": steps, "eval_steps": 100, "save_steps": 2, "log_steps": 1}
    return check({"name": "x", "task": task, "model": "m", "data": {"source": "nowhere"}, "training": training})


def test_a_training_that_ends_worse_than_it_began_fails_and_marks_its_run(tmp_path: Path) -> None:
    losses = [11.9, 17.0, 25.0, 29.0, 31.0]
    for _ in range(2):  # started again it fails again, and says it once
        with pytest.raises(MiloError, match="worse than it began: loss 28.3, 11.9 before") as caught:
            list(loop.train(recipe("nllb", 5), Run(tmp_path), lambda: Losses(losses)))
        assert caught.value.code == "training_diverged"
    run = Run(tmp_path)
    assert run.ended_worse() and run.summary()["state"] == "failed" and "worse" in run.summary()["error"]
    assert [one["kind"] for one in run.alerts()] == ["ended_worse"]


def test_a_voice_is_not_judged_by_its_loss_of_two_networks_against_each_other(tmp_path: Path) -> None:
    list(loop.train(recipe("vits", 5), Run(tmp_path), lambda: Losses([11.9, 17.0, 25.0, 29.0, 31.0])))
    assert Run(tmp_path).ended_worse() == "" and Run(tmp_path).summary()["state"] == "done"


def test_one_that_ends_better_is_done(tmp_path: Path) -> None:
    list(loop.train(recipe("nllb", 4), Run(tmp_path), lambda: Losses([11.9, 14.0, 9.0, 6.0])))
    assert Run(tmp_path).ended_worse() == "" and Run(tmp_path).summary()["state"] == "done"


def test_a_training_that_diverges_from_its_first_step_goes_back_to_the_base_at_half_the_rate(tmp_path: Path) -> None:
    class Halved(Losses):
        def step(self, number: int, factor: float, splits: int) -> StepResult:
            return StepResult(self.losses[number] if factor == 1 else 5.0)

    list(loop.train(recipe("vits", 5), Run(tmp_path), lambda: Halved([11.9, 253.0, 4733.0, 9000.0, 9100.0])))
    assert [one["kind"] for one in Run(tmp_path).alerts()] == ["spike_rollback"]
    assert Run(tmp_path).summary()["state"] == "done"
