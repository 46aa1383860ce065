"""False alarms and power of verdicts on error rates, by simulation: t-intervals over speakers beside the bootstrap.

    python -m benchmarks.statistics [--trials 1000]

Two models on the same utterances. Each word is wrong with a probability that depends on the speaker, and so does the
change from one model to the other: a speaker's change is drawn with the standard deviation `SPREAD`, around zero (false
alarms) or around `GAIN` (power). The percentile bootstrap over speakers is what Milo used before.
"""

from __future__ import annotations

import argparse

import numpy as np
import numpy.typing as npt

from milo.training.statistics import ratio

Numbers = npt.NDArray[np.float64]
BASE, SPREAD, GAIN, WORDS = 0.2, 0.02, 0.03, 10
"""Error rate; spread of a speaker's change; true change for the power; words an utterance."""
SETS = ((2, 20), (4, 40), (6, 60), (10, 100), (20, 200), (30, 300), (60, 600), (120, 1200))
"""(speakers, utterances)"""
RESAMPLES = 1000


def simulate(rng: np.random.Generator, speakers: int, utterances: int, gain: float) -> tuple[Numbers, Numbers]:
    """(more errors, words) of each speaker."""
    owners = np.concatenate([np.arange(speakers), rng.integers(0, speakers, utterances - speakers)])
    words = np.bincount(owners, minlength=speakers) * WORDS
    rates = np.clip(rng.normal(BASE, 0.05, speakers), 0.02, 0.8)
    changed = np.clip(rates + rng.normal(gain, SPREAD, speakers), 0.0, 1.0)
    return (rng.binomial(words, changed) - rng.binomial(words, rates)).astype(float), words.astype(float)


def by_t(more: Numbers, words: Numbers, _rng: np.random.Generator) -> bool:
    low, high = ratio(more, words).bounds()
    return low > 0 or high < 0


def by_bootstrap(more: Numbers, words: Numbers, rng: np.random.Generator) -> bool:
    drawn = rng.integers(0, len(more), (RESAMPLES, len(more)))
    low, high = np.quantile(more[drawn].sum(1) / words[drawn].sum(1), [0.025, 0.975])
    return bool(low > 0 or high < 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    trials = parser.parse_args().trials
    print(f"{trials} trials; base {BASE:.0%}, power at {GAIN:+.0%}; below 6 speakers Milo gives no verdict")
    print("speakers utterances | false alarms: t, bootstrap | power: t, bootstrap")
    for speakers, utterances in SETS:
        shares = []
        for gain in (0.0, GAIN):
            for method in (by_t, by_bootstrap):
                rng = np.random.default_rng(speakers)
                found = sum(method(*simulate(rng, speakers, utterances, gain), rng) for _ in range(trials))
                shares.append(f"{found / trials:6.1%}")
        print(f"{speakers:8} {utterances:10} | {shares[0]} {shares[1]} | {shares[2]} {shares[3]}")


if __name__ == "__main__":
    main()
