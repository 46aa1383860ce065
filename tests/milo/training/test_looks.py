"""Alpha spending: all looks together take what one may."""

from __future__ import annotations

import numpy as np
import pytest

from milo.training.looks import PLANNED, TOTAL, Looks
from milo.training.statistics import ratio


def test_however_often_one_looks_the_levels_add_up_to_the_total_at_most_and_none_is_zero() -> None:
    looks, spent = Looks(), 0.0
    for number in range(200):
        assert looks.level > 0 or number > 100
        spent += looks.level
        looks = looks.spend()
        assert looks.left + spent == pytest.approx(TOTAL)
    assert spent <= TOTAL


def test_planned_looks_take_equal_parts() -> None:
    looks = Looks()
    levels = []
    for _ in range(PLANNED - 1):
        levels.append(looks.level)
        looks = looks.spend()
    assert max(levels) - min(levels) < 1e-12 and levels[0] == TOTAL / PLANNED


def test_twenty_looks_at_models_that_are_all_alike_alarm_in_one_training_of_twenty_at_most() -> None:
    rng = np.random.default_rng(2)
    shared = plain = 0
    for _ in range(300):
        looks, alarms = Looks(), [False, False]
        for _ in range(20):
            words = rng.integers(100, 300, 12).astype(float)
            p = ratio(np.round(words * rng.normal(0, 0.03, 12)), words).p_above()
            alarms = [alarms[0] or p < looks.level, alarms[1] or p < TOTAL]
            looks = looks.spend()
        shared, plain = shared + alarms[0], plain + alarms[1]
    assert shared <= 24, "5 % of 300, and chance"
    assert plain > 120, "without sharing, it is most of them"
