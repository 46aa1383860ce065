"""False alarms and power of verdicts, by simulation: t-intervals over speakers beside the bootstrap; one look and
twenty; margins; the interval of a calibration error.

    python -m benchmarks.statistics [--trials 1000]

Two models on the same utterances. Each word is wrong with a probability that depends on the speaker, and so does the
change from one model to the other: a speaker's change is drawn with the standard deviation `SPREAD`, around zero (false
alarms) or around `GAIN` (power). The percentile bootstrap over speakers is what Milo used before.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from milo.training.calibration import calibration
from milo.training.looks import PLANNED, TOTAL, Looks
from milo.training.statistics import Units, ratio

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


def intervals(trials: int) -> None:
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


def looks(trials: int) -> None:
    """Whether a checkpoint is worse: one look, and one of twenty that share its 5 %."""
    print(f"\nworse, one-sided {TOTAL:.0%}: power at +1 point and +3 points, one look | each of {PLANNED}; and how")
    print(f"many of {PLANNED} looks at what does not change alarm at least once: each at 5 % | shared")
    for speakers, utterances in ((12, 120), (30, 300), (40, 1000), (60, 2000), (120, 3101)):
        told = []
        for gain in (0.01, 0.03):
            rng = np.random.default_rng(speakers)
            p = [ratio(*simulate(rng, speakers, utterances, gain)).p_above() for _ in range(trials)]
            told.append(f"{np.mean(np.array(p) < TOTAL):.2f} | {np.mean(np.array(p) < Looks().level):.2f}")
        rng, plain, shared = np.random.default_rng(1), 0, 0
        for _ in range(trials // 5):
            values, left = [], Looks()
            for _ in range(PLANNED):
                p_above = ratio(*simulate(rng, speakers, utterances, 0.0)).p_above()
                values.append((p_above < TOTAL, p_above < left.level))
                left = left.spend()
            plain, shared = plain + any(v[0] for v in values), shared + any(v[1] for v in values)
        alarms = f"{plain / (trials // 5):.2f} | {shared / (trials // 5):.2f}"
        print(f"{speakers:8} {utterances:10}   {told[0]}   {told[1]}   {alarms}")


def margins(trials: int) -> None:
    """Non-inferiority: how often a model passes that is worse by the margin exactly, and one that is as good."""
    print("\na margin of 4 points: passed although worse by 4 points | passed, rightly, when as good")
    for speakers, utterances in SETS[2:]:
        shares = []
        for gain in (0.04, 0.0):
            rng = np.random.default_rng(speakers)
            highs = [ratio(*simulate(rng, speakers, utterances, gain)).bounds()[1] for _ in range(trials)]
            shares.append(f"{np.mean(np.array(highs) <= 0.04):6.1%}")
        print(f"{speakers:8} {utterances:10} | {shares[0]} | {shares[1]}")


def calibrations(trials: int) -> None:
    print("\ncalibration error, words of a model whose log-odds are 1, 1.2 and 2 times too far from zero:")
    print("speakers words | true, mean found, intervals that hold the true one")
    for hotter in (1.0, 1.2, 2.0):
        true = calibration(*words_said(np.random.default_rng(0), 2000, 200_000, hotter)).ece
        for speakers, count in ((8, 400), (20, 1000), (60, 3000)):
            rng = np.random.default_rng(speakers)
            found = [calibration(*words_said(rng, speakers, count, hotter)) for _ in range(trials // 5)]
            # what is true is itself an estimate: 0.003 above zero at most
            held = [
                one.interval is not None and one.interval["low"] <= max(true, 0.003) and true <= one.interval["high"]
                for one in found
            ]
            mean = np.mean([one.ece for one in found])
            print(f"{speakers:8} {count:5} | {true:.3f} {mean:.3f} {np.mean(held):6.1%}")


def words_said(
    rng: np.random.Generator, speakers: int, count: int, hotter: float
) -> tuple[list[float], list[bool], Units]:
    owner = np.arange(count) % speakers
    logit = rng.normal(1.2, 1.2, count) + rng.normal(0, 0.3, speakers)[owner]
    right = rng.random(count) < 1 / (1 + np.exp(-logit / hotter))
    return (1 / (1 + np.exp(-logit))).tolist(), right.tolist(), Units("speakers", owner, speakers)


PARTS: tuple[Callable[[int], None], ...] = (intervals, looks, margins, calibrations)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    trials = parser.parse_args().trials
    for part in PARTS:
        part(trials)


if __name__ == "__main__":
    main()
