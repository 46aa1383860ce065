"""The regression monitor: what it must find, and what it must leave alone, by simulation."""

from __future__ import annotations

import math

import pytest

from milo.settings import Settings
from milo.training.looks import PLANNED, TOTAL
from tests.trainer.autonomy.tiny_world import Errors, judged, remembered, world_of
from trainer.autonomy.regression import check
from trainer.autonomy.world import Found


def watch(settings: Settings, gains: list[float], speakers: int, utterances: int, seed: int) -> list[Found]:
    """A look after each checkpoint of a training; `gains`: how much worse than the first each one is."""
    errors = Errors(utterances, seed=seed)
    checkpoints, found, before = [judged("checkpoint-0", errors.counts(), speakers)], [], {}
    for number, gain in enumerate(gains, 1):
        checkpoints.append(judged(f"checkpoint-{number}", errors.counts(gain), speakers))
        told = check(world_of(settings, checkpoints, speakers, utterances, before=before))
        before = remembered(told.fields, told.state, told.reason)
        found.append(told)
    return found


def test_twenty_looks_at_a_training_that_stands_still_alarm_in_one_of_twenty_at_most(settings: Settings) -> None:
    alarms = sum(
        any(one.fields["regression_detected"] for one in watch(settings, [0.0] * PLANNED, 16, 48, seed))
        for seed in range(40)
    )
    assert alarms <= 5, "5 % of 40 is 2"


def test_a_point_more_is_found_on_a_large_set_by_one_look_of_twenty(settings: Settings) -> None:
    found = sum(
        watch(settings, [0.01], 240, 6202, seed)[0].fields["regression_detected"] for seed in range(5)
    )  # *watch* is half of them
    assert found == 5


def test_ten_times_a_third_of_a_point_is_found_by_the_eighth(settings: Settings) -> None:
    found = watch(settings, [0.003 * n for n in range(1, 11)], 80, 2400, 1)
    first = next(n for n, one in enumerate(found, 1) if one.fields["regression_detected"])
    assert first <= 8
    assert found[first - 1].fields["baseline"]["best"] == "checkpoint-0", "it is compared with where it began"


def test_what_is_not_a_number_is_a_failure_and_critical(settings: Settings) -> None:
    for value in (math.nan, math.inf):
        counts = Errors(60).counts()
        checkpoints = [judged("checkpoint-1", counts, 12), judged("checkpoint-2", counts, 12, loss=value)]
        told = check(world_of(settings, checkpoints, 12, 60))
        assert (told.state, told.fields["alert_level"]) == ("failed", "critical")
        assert told.fields["regression_detected"] and told.fields["current_loss"] is None
    broken = check(world_of(settings, checkpoints, 12, 60, broken={"checkpoint-3": "its weights are broken"}))
    assert broken.state == "failed" and broken.checkpoint == "checkpoint-3" and "its weights" in broken.reason


def test_a_look_is_taken_once_and_says_what_is_left(settings: Settings) -> None:
    counts = Errors(120).counts()
    checkpoints = [judged("checkpoint-1", counts, 12), judged("checkpoint-2", counts + 1, 12)]
    first = check(world_of(settings, checkpoints, 12, 120))
    assert first.fields["regression_detected"] and first.fields["baseline"]["checkpoint"] == "checkpoint-1"
    assert first.fields["alpha_left"] == pytest.approx(TOTAL * (1 - 1 / PLANNED))
    again = check(world_of(settings, checkpoints, 12, 120, before=remembered(first.fields)))
    assert again.fields == first.fields
    other = remembered(first.fields) | {"run_id": "another"}
    assert check(world_of(settings, checkpoints, 12, 120, before=other)).fields["looks"]["used"] == 1


def test_the_deployed_one_counts_and_the_best_changes_only_for_a_better_one(settings: Settings) -> None:
    errors = Errors(240, rate=0.3, seed=3)
    good = judged("milo-tiny-mg@1", errors.counts(-0.25), 24)
    checkpoints = [judged("checkpoint-1", errors.counts(), 24), judged("checkpoint-2", errors.counts(-0.1), 24)]
    told = check(world_of(settings, checkpoints, 24, 240, deployed=good))
    assert told.fields["regression_detected"] and told.fields["baseline"]["checkpoint"] == "milo-tiny-mg@1"
    assert told.fields["baseline"]["best"] == "checkpoint-2"


def test_too_few_speakers_and_nothing_to_compare_are_said(settings: Settings) -> None:
    counts = Errors(50).counts()
    pair = [judged("checkpoint-1", counts, 5), judged("checkpoint-2", counts + 3, 5)]
    told = check(world_of(settings, pair, 5, 50))
    assert told.state == "insufficient_data" and "5 speakers, 6 are needed" in told.reason
    assert not told.fields["regression_detected"] and told.fields["alpha_left"] == TOTAL, "no look was taken"
    assert check(world_of(settings, pair[:1], 5, 50)).state == "insufficient_data"
    assert check(world_of(settings, [], 5, 50)).state == "insufficient_data"
