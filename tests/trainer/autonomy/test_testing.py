"""The test report: models that are broken in every way are caught, and the same model never is."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from milo.settings import Settings
from tests.trainer.autonomy.tiny_world import WORDS, Errors, judged, remembered, world_of
from trainer.autonomy.testing import LEVELS, check
from trainer.autonomy.world import Judged

SPEAKERS, UTTERANCES = 30, 900


@pytest.fixture
def settings() -> Settings:
    return Settings(_env_file=None)


def deployed() -> Judged:
    return judged("m@1", Errors(UTTERANCES, seed=1).counts(), SPEAKERS)


def broken(**fields: Any) -> Judged:
    return judged("checkpoint-1", np.full(UTTERANCES, WORDS), SPEAKERS, **fields)


MUTANTS: dict[str, Callable[[], Judged]] = {
    "its tokenizer is another": lambda: broken(hyp_scored="xq zzk vwj qqr"),
    "a layer is zeroed: it says nothing": lambda: broken(hyp_scored=""),
    "a layer is zeroed: it loops": lambda: broken(hyp_scored="ny " * 60, compression_ratio=9.0),
    "its weights overflow": lambda: judged(
        "checkpoint-1", Errors(UTTERANCES, seed=1).counts(), SPEAKERS, loss=math.nan
    ),
    "another language": lambda: broken(hyp_scored="the weather is fine"),
    "another script": lambda: broken(hyp_scored="погода хорошая"),
    "loops now and then": lambda: judged(
        "checkpoint-1",
        Errors(UTTERANCES, seed=1).counts(),
        SPEAKERS,
        compression_ratio=lambda n: 9.0 if n % 10 else 1.0,
    ),
    "worse where it is noisy alone": lambda: judged(
        "checkpoint-1",
        Errors(UTTERANCES, seed=1).counts() + np.array([4 * (n // 30 % 6 == 0) for n in range(UTTERANCES)]),
        SPEAKERS,
        snr_db=lambda n: 5.0 if n // 30 % 6 == 0 else 25.0,
        hyp_scored="w",
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_every_mutant_is_caught(settings: Settings, mutant: str) -> None:
    found = check(world_of(settings, [MUTANTS[mutant]()], SPEAKERS, UTTERANCES, deployed=deployed()))
    assert found.state == "failed" or found.fields["regression_detected"], mutant


def test_twenty_looks_at_models_that_are_all_alike_give_no_alarm(settings: Settings) -> None:
    before: dict[str, Any] = {}
    errors, serves = Errors(UTTERANCES, seed=1), deployed()
    for number in range(20):
        one = judged(f"checkpoint-{number}", errors.counts(shuffled=0.05), SPEAKERS)
        found = check(world_of(settings, [one], SPEAKERS, UTTERANCES, deployed=serves, before=before))
        assert found.state == "ok" and not found.fields["regression_detected"]
        before = remembered(found.fields, found.state, found.reason)
    assert before["looks"]["used"] == 20
    again = check(world_of(settings, [one], SPEAKERS, UTTERANCES, deployed=serves, before=before))
    assert again.fields == found.fields


def test_what_is_easy_a_frozen_model_says_and_it_stays_so(settings: Settings) -> None:
    serves = deployed()
    one = judged("checkpoint-1", Errors(UTTERANCES, seed=1).counts(0.02), SPEAKERS)
    found = check(world_of(settings, [one], SPEAKERS, UTTERANCES, deployed=serves)).fields
    by = found["by_difficulty"]
    assert list(by) == list(LEVELS) and by["easy"] > by["medium"] > by["hard"]
    assert sum(found["strata"]["items"].values()) == 450 and min(found["strata"]["items"].values()) >= 100
    assert found["intervals"]["easy"]["low"] <= by["easy"] <= found["intervals"]["easy"]["high"]
    worst = judged("checkpoint-2", Errors(UTTERANCES, seed=9).counts(0.3), SPEAKERS)
    later = check(world_of(settings, [one, worst], SPEAKERS, UTTERANCES, deployed=serves, before=remembered(found)))
    assert later.fields["strata"] == found["strata"] and later.fields["regression_detected"]


def test_small_sets_give_no_figures_by_difficulty_and_few_speakers_no_verdict(settings: Settings) -> None:
    counts = Errors(120).counts()
    small = check(world_of(settings, [judged("checkpoint-1", counts, 12)], 12, 120, deployed=judged("m", counts, 12)))
    assert small.state == "ok" and set(small.fields["by_difficulty"].values()) == {None}
    few = check(world_of(settings, [judged("checkpoint-1", counts, 5)], 5, 120, deployed=judged("m", counts, 5)))
    assert few.state == "insufficient_data" and few.fields["looks"]["used"] == 0
    alone = check(world_of(settings, [judged("checkpoint-1", counts, 12)], 12, 120))
    assert alone.state == "insufficient_data" and alone.fields["overall_accuracy"] > 0.5
    assert check(world_of(settings, [], 12, 120, broken={"checkpoint-1": "broken"})).state == "failed"
