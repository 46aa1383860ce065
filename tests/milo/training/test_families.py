"""Adjusted p-values: by hand, as scipy and statsmodels have them, and by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from milo.training.families import false_discovery_rate, holm

P = [0.01, 0.04, 0.03, 0.005, 0.2]


def test_holm_is_what_it_is_by_hand() -> None:
    assert holm(P) == pytest.approx([0.04, 0.09, 0.09, 0.025, 0.2])
    assert holm([]) == [] and holm([0.7, 0.9]) == [1, 1]


def test_the_false_discovery_rate_is_what_scipy_has() -> None:
    """`scipy.stats.false_discovery_control(P)`."""
    assert false_discovery_rate(P) == pytest.approx([0.025, 0.05, 0.05, 0.025, 0.2])
    assert false_discovery_rate([]) == [] and false_discovery_rate([0.9]) == [0.9]


def test_families_keep_their_promises_where_plain_tests_break_them() -> None:
    rng = np.random.default_rng(1)
    plain, family, false, found = 0, 0, 0, []
    for _ in range(1000):
        p = rng.random(20)
        plain += (p < 0.05).any()
        family += min(holm(p.tolist())) < 0.05
        p[:8] = rng.beta(0.02, 10, 8)  # these are true
        told = np.array(false_discovery_rate(p.tolist())) < 0.1
        false += told[8:].any()
        found.append(told[8:].sum() / max(1, told.sum()))
    assert plain > 500 and family <= 70
    assert np.mean(found) <= 0.1 and false > 100, "a share of what is found may be false, and not more"
