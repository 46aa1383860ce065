"""Student's t distribution, for want of scipy: probabilities, quantiles, and the power of a t test."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np


def t_cdf(t: float, df: int) -> float:
    """P(T <= t)."""
    tail = _beta(df / (df + t * t), df / 2, 0.5) / 2
    return 1 - tail if t > 0 else tail


@lru_cache(maxsize=1024)
def t_quantile(p: float, df: int) -> float:
    """The t with P(T <= t) = p, by bisection."""
    low, high = -1e4, 1e4
    for _ in range(64):
        middle = (low + high) / 2
        low, high = (middle, high) if t_cdf(middle, df) < p else (low, middle)
    return (low + high) / 2


def _beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function, by Lentz's continued fraction (https://dlmf.nist.gov/8.17#v)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta(1 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    tiny, c = 1e-300, 1.0
    d = 1 / ((1 - (a + b) * x / (a + 1)) or tiny)
    found = d
    for m in range(1, 1000):
        for part in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d, c = 1 / ((1 + part * d) or tiny), (1 + part / c) or tiny
            found *= c * d
        if abs(c * d - 1) < 1e-14:
            break
    return front * found


def power(shift: float, df: int, level: float) -> float:
    """Probability that a one-sided t test at `level` finds a true value of `shift` standard errors above zero.

    The noncentral t distribution, as an integral over the distribution of the estimated standard error.
    """
    critical = t_quantile(1 - level, df)
    scale = np.linspace(1e-6, 1 + 12 / math.sqrt(2 * df), 1001)  # estimated standard error / the true one
    log_density = (df - 1) * np.log(scale) - df * scale**2 / 2
    weights = np.exp(log_density - log_density.max())
    weights /= weights.sum()
    below = np.array([math.erfc((shift - critical * at) / math.sqrt(2)) / 2 for at in scale])
    return 1 - float((weights * below).sum())


@lru_cache(maxsize=1024)
def shift_found(probability: float, df: int, level: float) -> float:
    """The true value, in standard errors, that such a test finds with this probability."""
    low, high = 0.0, 1e3
    for _ in range(48):
        middle = (low + high) / 2
        low, high = (middle, high) if power(middle, df, level) < probability else (low, middle)
    return (low + high) / 2
