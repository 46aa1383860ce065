"""The parts of the Whisper engines that are arithmetic: features, loops, words, time warping."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milo.engines.runtime.loops import cut_loop, find_loop
from milo.engines.whisper.features import log_mel
from milo.engines.whisper.guards import compression_ratio
from milo.engines.whisper.words import Alignment, dtw, split_words, time_words


@pytest.mark.parametrize("n_mels", [80, 128])
@pytest.mark.parametrize(
    ("samples", "frames"),
    [
        (1, 100),
        (399, 100),
        (16_000, 100),
        (50_000, 400),
        (63_990, 400),
        (64_000, 400),
        (112_000, 3000),
        (480_000, 3000),
    ],
)
def test_features_equal_those_of_transformers(samples: int, frames: int, n_mels: int) -> None:
    from transformers import WhisperFeatureExtractor

    noise = np.random.default_rng(samples).standard_normal(samples) * np.linspace(0, 0.2, samples)
    wave = noise.astype(np.float32)
    stock = WhisperFeatureExtractor(feature_size=n_mels)(
        wave, sampling_rate=16_000, padding="max_length", max_length=frames * 160, return_tensors="np"
    )
    assert np.abs(log_mel(wave, frames, n_mels) - stock.input_features[0]).max() < 1e-4


def test_features_of_silence_are_finite_and_flat() -> None:
    features = log_mel(np.zeros(8000, np.float32), 100, 80)
    assert features.shape == (80, 100)
    assert np.allclose(features, -1.5, atol=1e-5)


@pytest.mark.parametrize(
    ("tokens", "loop"),
    [
        ([1, 2, 3, 4], None),
        ([7] * 5, None),
        ([7] * 6, (0, 1, 6)),
        ([1, 7, 7, 7, 7, 7, 7, 7, 2], (1, 1, 7)),
        ([5, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 9], (1, 3, 4)),
        ([1, 2, 3, 1, 2, 3, 1, 2, 3], None),
        ([1, 2] * 5, None),
        ([1, 2] * 6, (0, 2, 6)),
        ([], None),
    ],
)
def test_loops_are_found_and_plain_repetition_is_left_alone(
    tokens: list[int], loop: tuple[int, int, int] | None
) -> None:
    assert find_loop(tokens) == loop


def test_a_cut_loop_leaves_one_turn_and_what_is_around_it() -> None:
    tokens = [5, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 9]
    assert cut_loop(tokens, (1, 3, 4)) == [5, 1, 2, 3, 9]


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), max_size=120))
def test_cutting_loops_always_ends(tokens: list[int]) -> None:
    rounds = 0
    while (loop := find_loop(tokens)) is not None:
        shorter = cut_loop(tokens, loop)
        assert len(shorter) < len(tokens)
        tokens, rounds = shorter, rounds + 1
    assert rounds < 60


def test_the_compression_ratio_is_whispers() -> None:
    assert compression_ratio("") == 0
    assert compression_ratio("roa " * 60) > 10
    assert compression_ratio("Manao ahoana tompoko, tsara ve ianao?") < 1.2


BYTES = {n: bytes([n]) for n in range(256)}


def tokens_of(text: str) -> list[int]:
    return list(text.encode())


@pytest.mark.parametrize(
    ("text", "language", "words"),
    [
        (" ny vary", "mg", [" ny", " vary"]),
        (" amin'ny l'heure, « oui »", "fr", [" amin'ny", " l'heure,", " « oui »"]),
        ("tsara.", "mg", ["tsara."]),
        (" - roa", "mg", [" - roa"]),
        (" tsara !", "fr", [" tsara !"]),
        (" …", "mg", [" …"]),
        ("你好", "zh", ["你", "好"]),
        ("", "mg", []),
    ],
)
def test_words_are_split_at_spaces_and_keep_their_marks(text: str, language: str, words: list[str]) -> None:
    split = split_words(tokens_of(text), BYTES, language)
    assert [word for word, _ in split] == words
    assert [token for _, ids in split for token in ids] == tokens_of(text)


@settings(deadline=None)
@given(st.lists(st.integers(0, 255), max_size=60))
def test_any_bytes_are_split_without_loss(tokens: list[int]) -> None:
    assert [token for _, ids in split_words(tokens, BYTES, "mg") for token in ids] == tokens


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=40),
    st.floats(0.01, 30),
    st.integers(0, 2**32 - 1),
)
def test_word_times_are_in_order_inside_the_window_and_never_empty(
    sizes: list[int], window_s: float, seed: int
) -> None:
    words = [("x", [0] * size) for size in sizes]
    tokens = sum(sizes)
    frames = max(1, round(window_s * 50))
    cost = np.random.default_rng(seed).standard_normal((tokens + 1, frames)).astype(np.float32)
    text, time = dtw(cost)
    timings = time_words(words, Alignment(text, time, [0.5] * tokens), window_s)
    edges = [edge for timing in timings for edge in (timing.start_s, timing.end_s)]
    assert edges == sorted(edges)
    assert 0 <= edges[0] and edges[-1] <= window_s + 0.001
    if window_s / len(sizes) > 0.002:
        assert all(timing.end_s > timing.start_s for timing in timings)


def test_the_warping_path_is_the_cheapest_one() -> None:
    cost = np.array([[0, 9, 9, 9], [9, 0, 0, 9], [9, 9, 9, 0]], np.float32)
    text, time = dtw(cost)
    assert list(zip(text.tolist(), time.tolist(), strict=True)) == [(0, 0), (1, 1), (1, 2), (2, 3)]


def test_a_word_that_swallowed_the_silence_before_it_is_shortened() -> None:
    words = [(" a", [1]), (" b", [2]), (" c", [3])]
    path = Alignment(np.array([0, 1, 2, 3]), np.array([0, 200, 215, 230]), [0.9, 0.9, 0.9])
    first, second, _ = time_words(words, path, 5.0)
    assert first.end_s == second.start_s == 4.0
    assert first.end_s - first.start_s < 1
