"""Student's t against what scipy 1.16 says (`scipy.stats.t`, `scipy.stats.nct`)."""

from __future__ import annotations

import pytest

from milo.training.statistics import Ratio
from milo.training.student import power, t_cdf, t_quantile


@pytest.mark.parametrize(("p", "df", "t"), [(0.975, 1, 12.7062), (0.975, 5, 2.57058), (0.9, 10, 1.37218)])
def test_quantiles_of_student_are_those_of_the_tables(p: float, df: int, t: float) -> None:
    assert t_quantile(p, df) == pytest.approx(t, abs=1e-4)
    assert t_cdf(t, df) == pytest.approx(p, abs=1e-6)


@pytest.mark.parametrize(
    ("shift", "df", "level", "found"),
    [(2, 5, 0.025, 0.368032), (3, 10, 0.025, 0.771400), (3.5, 39, 0.0025, 0.696928), (1, 119, 0.05, 0.257674)],
)
def test_power_is_that_of_the_noncentral_t(shift: float, df: int, level: float, found: float) -> None:
    assert power(shift, df, level) == pytest.approx(found, abs=1e-5)


@pytest.mark.parametrize("df", [5, 10, 40])
def test_the_smallest_detectable_difference_is_found_nine_times_of_ten(df: int) -> None:
    told = Ratio(0.0, 0.004, df)
    for level in (0.025, 0.0025):
        assert told.power(told.detectable(level), level) == pytest.approx(0.9, abs=1e-6)
    assert (
        Ratio(0.0, 0.0, df).power(0.01) == 1
        and Ratio(0.0, 0.0, df).detectable() == 0
        and Ratio(0.0, 0.0, df).power(0) == 0
    )


def test_p_values_and_bounds_say_the_same() -> None:
    for value in (-0.02, 0.0, 0.011, 0.02):
        told = Ratio(value, 0.005, 9)
        low, high = told.bounds()
        assert (told.p_value() < 0.05) == (low > 0 or high < 0)
        assert (told.p_above() < 0.025) == (low > 0)
    assert Ratio(0.0, 0.0, 9).p_value() == 1 and Ratio(0.0, 0.0, 9).p_above() == 1
    assert Ratio(0.1, 0.0, 9).p_above() == 0
