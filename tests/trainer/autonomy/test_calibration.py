"""The calibration of a checkpoint's confidences: a planted temperature is found, and it helps."""

from __future__ import annotations

import math

import numpy as np
import pytest

from milo.settings import Settings
from tests.trainer.autonomy.tiny_world import WORDS, judged, world_of
from trainer.autonomy.calibration import check, cooled, fitted, normalised_cross_entropy
from trainer.autonomy.world import Found, Judged


@pytest.fixture
def settings() -> Settings:
    return Settings(_env_file=None)


def checkpoint(hotter: float, speakers: int, utterances: int, seed: int = 0) -> Judged:
    """Confidences whose log-odds are `hotter` times as far from zero as they should be."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(1.2, 1.2, utterances)
    errors = WORDS - rng.binomial(WORDS, 1 / (1 + np.exp(-logit)))
    said = 1 / (1 + np.exp(-logit * hotter))
    return judged("checkpoint-1", errors, speakers, mean_logprob=lambda n: math.log(said[n]))


def looked(settings: Settings, hotter: float, speakers: int = 60, utterances: int = 1800, seed: int = 0) -> Found:
    return check(world_of(settings, [checkpoint(hotter, speakers, utterances, seed)], speakers, utterances))


def test_a_planted_temperature_is_found_on_other_speakers_and_cools_the_confidences(settings: Settings) -> None:
    found = looked(settings, 2.0).fields
    assert found["temperature"] == pytest.approx(2.0, rel=0.1)
    assert found["ece"] > 0.05 and not found["well_calibrated"] and found["ece_after"] <= 0.02
    assert found["ece_interval"]["low"] < found["ece"] < found["ece_interval"]["high"]


def test_confidences_that_are_true_are_left_alone(settings: Settings) -> None:
    found = looked(settings, 1.0).fields
    assert found["temperature"] == pytest.approx(1.0, rel=0.1) and found["well_calibrated"]
    assert 0 < found["nce"] < 1, "they tell something of what is right"


def test_all_words_that_were_written_are_in_a_bin(settings: Settings) -> None:
    found = looked(settings, 1.0, 30, 300).fields
    assert sum(one["count"] for one in found["bins"]) == sum(one["words"] for one in found["slices"]) > 0
    assert [one["slice"] for one in found["slices"]] == ["SNR 10 to 20 dB", "SNR from 20 dB"]
    certain = judged("checkpoint-1", np.zeros(60, int), 6, mean_logprob=0.0)
    told = check(world_of(settings, [certain], 6, 60)).fields
    assert told["bins"][-1]["count"] == 60 * WORDS and told["ece"] == 0, "a confidence of 1.0 counts"
    assert told["nce"] is None


def test_small_suites_have_no_temperature_and_say_why(settings: Settings) -> None:
    found = looked(settings, 2.0, 12, 240)
    assert found.state == "ok" and found.fields["temperature"] is None and "12 speakers" in found.reason
    assert looked(settings, 2.0, 5, 50).state == "insufficient_data"
    assert check(world_of(settings, [], 30, 300)).state == "insufficient_data"


def test_confidences_that_have_nothing_to_do_with_what_is_right_have_no_temperature(settings: Settings) -> None:
    rng = np.random.default_rng(2)
    errors = WORDS - rng.binomial(WORDS, 0.3, 600)
    one = judged("checkpoint-1", errors, 30, mean_logprob=lambda n: math.log(0.6 + 0.3 * (n % 7) / 7))
    found = check(world_of(settings, [one], 30, 600))
    assert found.fields["temperature"] is None and "none fits" in found.reason and found.fields["ece"] > 0.3


def test_a_temperature_is_the_one_that_fits(settings: Settings) -> None:
    rng = np.random.default_rng(1)
    said = rng.random(4000)
    right = (rng.random(4000) < cooled(said.tolist(), 0.5)).tolist()
    assert fitted(said.tolist(), right) == pytest.approx(0.5, rel=0.1)
    misled = normalised_cross_entropy([0.99] * 10, [True] * 5 + [False] * 5)
    assert misled is not None and misled < 0
