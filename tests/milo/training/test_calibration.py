"""Calibration on words that are made up: what is said, what is right, and how sure the error is."""

from __future__ import annotations

import numpy as np
import pytest

from milo.training.calibration import calibration
from milo.training.statistics import Units


def words(rng: np.random.Generator, speakers: int, count: int, hotter: float) -> tuple[list[float], list[bool], Units]:
    """Confidences whose log-odds are `hotter` times as far from zero as they should be."""
    owner = np.arange(count) % speakers
    logit = rng.normal(1.2, 1.2, count) + rng.normal(0, 0.3, speakers)[owner]
    right = rng.random(count) < 1 / (1 + np.exp(-logit / hotter))
    return (1 / (1 + np.exp(-logit))).tolist(), right.tolist(), Units("speakers", owner, speakers)


def test_bins_add_up_and_the_last_one_holds_certainty() -> None:
    units = Units("utterances", np.arange(8), 8)
    said = [0.0, 0.1, 0.2, 0.5, 0.8, 0.95, 1.0, 1.0]
    found = calibration(said, [False, False, True, True, True, True, True, False], units)
    assert [one.range for one in found.bins] == ["0.0-0.2", "0.2-0.4", "0.4-0.6", "0.6-0.8", "0.8-0.95", "0.95-1.0"]
    assert [one.count for one in found.bins] == [2, 1, 1, 0, 1, 3]
    assert found.bins[3].accuracy is None and found.bins[5].accuracy == pytest.approx(2 / 3)
    assert found.ece == pytest.approx((0.1 + 0.8 + 0.5 + 0.2 + 0.95) / 8)


def test_too_few_speakers_give_no_interval() -> None:
    said, right, units = words(np.random.default_rng(1), 5, 500, 1.0)
    assert calibration(said, right, units).interval is None


@pytest.mark.parametrize("hotter", [1.0, 1.2, 2.0])
def test_the_interval_holds_the_true_error_in_nineteen_of_twenty(hotter: float) -> None:
    rng = np.random.default_rng(4)
    true = calibration(*words(rng, 2000, 100_000, hotter)).ece
    held = 0
    for _ in range(100):
        found = calibration(*words(rng, 20, 1000, hotter)).interval
        assert found is not None
        held += found["low"] <= max(true, 0.003) and true <= found["high"]
    assert held >= 89


def test_overconfidence_is_seen_and_what_is_true_is_not_called_wrong() -> None:
    rng = np.random.default_rng(5)
    wrong = [calibration(*words(rng, 20, 1000, 2.0)).interval for _ in range(50)]
    right = [calibration(*words(rng, 20, 1000, 1.0)).interval for _ in range(50)]
    assert sum(one is not None and one["low"] > 0.02 for one in wrong) >= 48
    assert sum(one is not None and one["low"] > 0.02 for one in right) <= 3
