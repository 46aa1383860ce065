"""What is seen of a training that goes wrong from its first step."""

from __future__ import annotations

from pathlib import Path

import pytest

from milo.errors import MiloError
from milo.training.runs import Run
from trainer.loop.guards import Fixes, LossGuard, RollBack


def test_a_training_that_diverges_from_its_first_step_goes_back_with_half_the_rate(tmp_path: Path) -> None:
    run = Run(tmp_path)
    guard = LossGuard(Fixes.of(run), [], 0)
    with pytest.raises(RollBack):
        for step, loss in enumerate([11.9, 253.0, 4733.0, 900.0], 1):
            guard.check(step, loss, [str(step)])
    assert Fixes.of(run).rate(0) == 0.5 and Fixes.of(run).first_loss == 11.9
    assert "before training" in run.alerts()[-1]["seen"]


def test_a_training_that_ends_worse_than_it_began_fails_and_marks_its_run(tmp_path: Path) -> None:
    run = Run(tmp_path)
    guard = LossGuard(Fixes.of(run), [], 0)
    for step, loss in enumerate([2.7, 3.5, 5.0, 5.1, 5.2], 1):
        guard.check(step, loss, [])
    with pytest.raises(MiloError, match="worse than it began"):
        guard.check_end()
    assert "worse" in run.ended_worse() and run.alerts()[-1]["kind"] == "ended_worse"


def test_a_training_that_got_better_ends_well(tmp_path: Path) -> None:
    guard = LossGuard(Fixes.of(Run(tmp_path)), [], 0)
    for step, loss in enumerate([2.7, 1.5, 0.5], 1):
        guard.check(step, loss, [])
    guard.check_end()
    assert Run(tmp_path).ended_worse() == ""
