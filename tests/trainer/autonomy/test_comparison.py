"""The comparison of checkpoints: ties are ties, the best is not flattered, and who is chosen is as good as the best."""

from __future__ import annotations

import numpy as np
import pytest

from milo.settings import Settings
from tests.trainer.autonomy.tiny_world import Errors, judged, world_of
from trainer.autonomy.comparison import check
from trainer.autonomy.word_confidence import right_words


@pytest.fixture
def settings() -> Settings:
    return Settings(_env_file=None)


def test_the_same_weights_twice_are_tied_and_the_older_one_is_taken(settings: Settings) -> None:
    counts = Errors(240).counts()
    found = check(world_of(settings, [judged("checkpoint-1", counts, 24), judged("checkpoint-2", counts, 24)], 24, 240))
    assert found.fields["best_checkpoint"] == "checkpoint-1"
    assert [row["tied_with"] for row in found.fields["rankings"]] == [["checkpoint-2"], ["checkpoint-1"]]
    assert all(row["rank_interval"] == [1, 2] for row in found.fields["rankings"])


def test_one_that_is_far_better_is_taken_and_the_ranks_of_the_others_are_known(settings: Settings) -> None:
    errors = Errors(480, rate=0.3, seed=1)
    gains = {"checkpoint-1": 0.0, "checkpoint-2": -0.2, "checkpoint-3": -0.1, "checkpoint-4": -0.1}
    world = world_of(settings, [judged(name, errors.counts(gain), 24) for name, gain in gains.items()], 24, 480)
    found = check(world)
    ranks = {row["checkpoint"]: row["rank_interval"] for row in found.fields["rankings"]}
    assert found.fields["best_checkpoint"] == "checkpoint-2" == found.fields["rankings"][0]["checkpoint"]
    assert ranks == {"checkpoint-2": [1, 1], "checkpoint-3": [2, 3], "checkpoint-4": [2, 3], "checkpoint-1": [4, 4]}
    tied = {row["checkpoint"]: row["tied_with"] for row in found.fields["rankings"]}
    assert tied["checkpoint-3"] == ["checkpoint-4"] and tied["checkpoint-2"] == []


def test_of_ten_equal_models_the_luckiest_is_not_believed(settings: Settings) -> None:
    """What was chosen on is too low; *confirm*, which nothing was chosen on, is not."""
    watched, confirmed = [], []
    for seed in range(40):
        errors = Errors(144, rate=0.2, seed=seed)
        checkpoints = [judged(f"checkpoint-{n}", errors.counts(shuffled=1.0), 36, hyp_scored="") for n in range(10)]
        found = check(world_of(settings, checkpoints, 36, 144)).fields
        watched.append(1 - max(row["accuracy"] for row in found["rankings"]))
        confirmed.append(found["confirmed"]["wer"])
        assert found["confirmed"]["optimism"] == pytest.approx(
            found["confirmed"]["wer"]
            - (1 - next(r["accuracy"] for r in found["rankings"] if r["checkpoint"] == found["best_checkpoint"]))
        )
    error = 3 * np.std(confirmed) / np.sqrt(40)
    assert abs(np.mean(confirmed) - 0.2) < error and np.mean(watched) < 0.2 - error


def test_one_that_might_be_a_point_worse_is_not_taken_for_its_age(settings: Settings) -> None:
    errors = Errors(960, rate=0.2, seed=5)
    checkpoints = [judged("checkpoint-1", errors.counts(0.02), 24), judged("checkpoint-2", errors.counts(), 24)]
    assert check(world_of(settings, checkpoints, 24, 960)).fields["best_checkpoint"] == "checkpoint-2"


def test_small_sets_say_what_they_lack(settings: Settings) -> None:
    counts = Errors(60).counts()
    pair = [judged("checkpoint-1", counts, 8), judged("checkpoint-2", counts + 1, 8)]
    found = check(world_of(settings, pair, 8, 60))
    assert found.state == "ok" and found.fields["confirmed"]["wer"] is None
    assert "there are 8 speakers" in str(found.fields["confirmed"]["reason"])
    few = [judged(f"checkpoint-{n}", counts, 5) for n in range(2)]
    assert check(world_of(settings, few, 5, 60)).state == "insufficient_data"
    assert check(world_of(settings, pair[:1], 8, 60)).state == "insufficient_data"


def test_words_are_right_where_the_alignment_leaves_them_as_they_are() -> None:
    assert right_words("inona no vaovao", "inona no vaovao") == [True, True, True]
    assert right_words("inona no vaovao", "inona ny hoe vaovao") == [True, False, False, True]
    assert right_words("inona", "") == []
