"""Which examples make up which micro-batch, and what is done to them: bounds, order, and the same each time."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from milo.recipes import Augment, Schedule
from trainer.data.load import Item
from trainer.whisper.features import rng_for, spec_augment, with_noise
from trainer.whisper.plan import PAUSE_S, Plan, Windows

SHORT = Windows(shortest_s=1.0, longest_s=30.0, pack_s=6.0)
STOCK = Windows(shortest_s=30.0, longest_s=30.0, pack_s=30.0)


def items(count: int = 97) -> list[Item]:
    rng = random.Random(1)
    return [Item(f"{n}.wav", "salama", f"s{n % 3}", round(rng.uniform(0.4, 5), 3)) for n in range(count)]


def plan(windows: Windows = SHORT, count: int = 97, **schedule: object) -> Plan:
    given = {"epochs": 3, "batch_audio_s": 20, "batch_size": 6, "seed": 7} | schedule
    made = items(count)
    return Plan(made, Schedule(**given), windows, [4] * len(made), 30)  # type: ignore[arg-type]


def first_epoch(made: Plan) -> list[tuple[int, ...]]:
    return [example for batch in made.epoch(0) for example in batch.examples]


def test_every_item_comes_once_an_epoch_and_every_batch_keeps_its_bounds() -> None:
    made = plan()
    for epoch in range(3):
        batches = made.epoch(epoch)
        assert Counter(at for batch in batches for one in batch.examples for at in one) == dict.fromkeys(range(97), 1)
        for batch in batches:
            assert len(batch.examples) <= 6 and len(batch.examples) * batch.window_s <= 20 + 1e-6
            assert all(made.length_s(epoch, one) <= batch.window_s for one in batch.examples)
    assert made.epoch(0) != made.epoch(1)


def test_an_item_longer_than_the_budget_has_a_batch_of_its_own() -> None:
    made = plan(STOCK, batch_audio_s=20)
    assert {len(batch.examples) for batch in made.epoch(0)} == {1}


def test_buckets_by_length_need_little_padding() -> None:
    made = plan(count=400)
    spoken = sum(made.length_s(0, one) for one in first_epoch(made))
    padded = sum(batch.window_s * len(batch.examples) for batch in made.epoch(0))
    assert spoken / padded > 0.9


def test_a_batch_is_the_same_in_another_plan_of_the_same_seed_however_it_is_come_by() -> None:
    one, other = plan(), plan()
    numbers = [40, 3, 70, 0]
    assert [one[number] for number in numbers] == [other[number] for number in reversed(numbers)][::-1]
    assert plan(seed=8)[0] != one[0]


def test_epochs_are_counted_in_steps_and_a_share_of_an_epoch_is_taken() -> None:
    batches = len(plan().epoch(0))
    assert plan(epochs=1).steps == batches
    assert plan(epochs=0.5).steps == round(batches / 2)
    assert plan(epochs=1, gradient_accumulation=4).steps == -(-batches // 4)
    assert plan().epochs_at(0) == 0 and plan().epochs_at(batches) == 1.0


def test_packed_examples_are_of_one_speaker_and_fit_the_window_and_the_decoder() -> None:
    made = plan(pack=True)
    examples = first_epoch(made)
    assert sorted(at for one in examples for at in one) == list(range(97)) and max(map(len, examples)) > 1
    for one in examples:
        assert len({made.items[at].speaker for at in one}) == 1
        spoken = sum(made.items[at].duration_s for at in one) + PAUSE_S * (len(one) - 1)
        assert len(one) == 1 or spoken <= 6.0
    made.tokens = [20] * 97
    assert max(map(len, Plan(made.items, made.schedule, SHORT, made.tokens, 30).epoch(0)[0].examples)) == 1


def test_speed_is_the_same_for_seed_epoch_and_item_and_changes_the_length() -> None:
    made = plan(augment=Augment(speed=(0.9, 1.1)))
    speeds = [made.speed(0, at) for at in range(97)]
    assert speeds == [plan(augment=Augment(speed=(0.9, 1.1))).speed(0, at) for at in range(97)]
    assert all(0.9 <= one <= 1.1 for one in speeds) and len(set(speeds)) > 90
    assert speeds != [made.speed(1, at) for at in range(97)]
    assert made.length_s(0, (3,)) == pytest.approx(made.items[3].duration_s / speeds[3])


def test_noise_has_the_ratio_that_was_drawn_and_masks_stay_within_their_shares() -> None:
    voice = np.sin(np.arange(16_000) / 10).astype(np.float32)
    noisy = with_noise(voice, (10, 10), rng_for("a", 1))
    snr_db = 10 * np.log10((voice**2).mean() / ((noisy - voice) ** 2).mean())
    assert snr_db == pytest.approx(10, abs=0.5)
    assert np.array_equal(noisy, with_noise(voice, (10, 10), rng_for("a", 1)))
    features = np.random.default_rng(0).standard_normal((80, 300)).astype(np.float32)
    masked = features.copy()
    spec_augment(masked, 200, rng_for("b", 3))
    changed = masked != features
    assert 0 < changed.mean() < 0.5 and changed.all(axis=1).sum() <= 24 and changed[:, :200].all(axis=0).sum() <= 20
