from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milo.audio.vad import VadOptions
from milo.errors import Invalid
from milo.transcription.decoded_speech import DecodedSpeech, decode_speech, plan_windows
from tests.support.audio_factory import RATE_HZ, room, say, wav

NOISE = np.random.default_rng(0).integers(-3, 4, 50_021, dtype=np.int16)
WORDS = ("kilogram", "tomorrow", "seventeen", "mountain", "yesterday", "elephant", "market", "village")


def made_up(edges_s: list[float], seed: int = 0, quiet: bool = True) -> DecodedSpeech:
    """Speech between the 1st and 2nd edge, the 3rd and 4th …; noise with pauses now and then, and its probabilities."""
    edges = sorted({round(edge * RATE_HZ) for edge in edges_s})
    spans = list(zip(edges[::2], edges[1::2], strict=False))
    samples_n = (edges[-1] if edges else 0) + RATE_HZ
    rng = np.random.default_rng(seed)
    loudness = np.repeat(rng.choice([3, 3000, 9000] if quiet else [9000], samples_n // 3200 + 1), 3200)[:samples_n]
    pcm = np.resize(NOISE, samples_n) * loudness.astype(np.int16)
    probabilities = np.where(loudness[::512] > 10, 250, 100).astype(np.uint8)
    return DecodedSpeech(samples_n, spans, [(0, samples_n, 0)], pcm, probabilities)


edges = st.lists(st.floats(0, 120, allow_nan=False), max_size=12)


@settings(deadline=None, max_examples=60)
@given(edges, st.floats(0.5, 40), st.floats(1, 40), st.floats(0, 5), st.integers(0, 5), st.booleans())
def test_windows_keep_their_promises(
    edges_s: list[float], pack_s: float, max_s: float, gap_s: float, seed: int, quiet: bool
) -> None:
    speech = made_up(edges_s, seed, quiet)
    windows = plan_windows(speech, pack_window_s=pack_s, max_window_s=max_s, max_gap_s=gap_s)
    flat = [edge for window in windows for edge in (window.start_s, window.end_s)]
    assert flat == sorted(flat), "in order, without overlap"
    assert all(0 < window.duration_s <= max_s + 1e-9 for window in windows)
    assert all((window.start_s, window.end_s) == (window.spans[0][0], window.spans[-1][1]) for window in windows)
    for window in windows:
        for (_, end), (start, _) in zip(window.spans, window.spans[1:], strict=False):
            assert end < start <= end + gap_s + 1e-9
    covered = sum(end - start for window in windows for start, end in window.spans)
    assert covered == pytest.approx(speech.speech_s, abs=1e-6)
    inside = [span for window in windows for span in window.spans]
    assert all(any(a <= start and end <= b for a, b in speech.spans) for start, end in inside)


def test_speech_without_a_pause_is_not_given_whole_to_a_model_of_short_windows() -> None:
    windows = plan_windows(made_up([0, 60], quiet=False), pack_window_s=3, max_window_s=30)
    assert 5 <= len(windows) <= 20 and max(window.duration_s for window in windows) <= 12


@settings(deadline=None, max_examples=20)
@given(edges, st.floats(1, 40))
def test_only_a_window_of_one_span_is_longer_than_the_pack(edges_s: list[float], pack_s: float) -> None:
    windows = plan_windows(made_up(edges_s), pack_window_s=pack_s, max_window_s=40)
    assert all(len(window.spans) == 1 for window in windows if window.duration_s > pack_s + 1e-9)


@given(edges)
@settings(deadline=None, max_examples=20)
def test_window_edges_are_whole_samples(edges_s: list[float]) -> None:
    for window in plan_windows(made_up(edges_s), pack_window_s=10, max_window_s=30):
        for edge in (window.start_s, window.end_s):
            assert round(edge * RATE_HZ) / RATE_HZ == edge


def test_short_spans_share_a_window_and_distant_ones_do_not() -> None:
    speech = made_up([0, 2, 3, 5, 6, 8, 20, 22])
    windows = plan_windows(speech, pack_window_s=30, max_window_s=30)
    assert [(w.start_s, w.end_s) for w in windows] == [(0, 8), (20, 22)]
    assert windows[0].spans == ((0, 2), (3, 5), (6, 8))


def test_the_pack_window_bounds_what_is_merged() -> None:
    windows = plan_windows(made_up([0, 3, 4, 7, 8, 11]), pack_window_s=7.5, max_window_s=30)
    assert [(w.start_s, w.end_s) for w in windows] == [(0, 7), (8, 11)]


def test_a_span_just_over_the_limit_is_not_cut_into_a_crumb() -> None:
    windows = plan_windows(made_up([0, 30.2], quiet=False), pack_window_s=30, max_window_s=30)
    assert [w.duration_s > 5 for w in windows] == [True, True]


@pytest.mark.parametrize("max_window_s", [0.0, 0.5, -1.0])
def test_windows_too_short_for_a_word_are_refused(max_window_s: float) -> None:
    with pytest.raises(Invalid):
        plan_windows(made_up([0, 5]), pack_window_s=5, max_window_s=max_window_s)


def _reading(pause_s: float, noise: float, count: int = 40) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Words with a short pause after each, in a room; and when each word begins and ends."""
    parts, words, at = [], [], 0
    for number in range(count):
        word, pause = say(WORDS[number % len(WORDS)]), np.zeros(round(pause_s * RATE_HZ), np.int16)
        words.append((at / RATE_HZ, (at + len(word)) / RATE_HZ))
        parts += [word, pause]
        at += len(word) + len(pause)
    pcm = np.concatenate(parts)
    return (pcm + room(len(pcm) / RATE_HZ, noise)[: len(pcm)]).astype(np.int16), words


@pytest.mark.parametrize("noise", [0.0, 30.0, 200.0])
@pytest.mark.parametrize("pause_s", [0.2, 0.28])
@pytest.mark.parametrize(("pack_s", "max_s"), [(8, 8), (30, 30), (5, 12)])
def test_no_word_is_cut_where_there_are_pauses(
    tmp_path: Path, pause_s: float, noise: float, pack_s: float, max_s: float
) -> None:
    pcm, words = _reading(pause_s, noise)
    source = io.BytesIO(wav(pcm.astype("<i2").tobytes()))
    for _ in decode_speech(source, tmp_path, max_s=1e3, options=VadOptions(min_silence_s=1.0)):
        pass
    speech = DecodedSpeech.load(tmp_path)
    assert len(speech.spans) == 1, "one long span, to be cut by the planner"
    windows = plan_windows(speech, pack_window_s=pack_s, max_window_s=max_s)
    cuts = [window.start_s for window in windows[1:]]
    assert len(cuts) >= int(speech.duration_s / max_s)
    for cut in cuts:
        for start, end in words:
            assert not start + 0.02 < cut < end - 0.02, f"{cut} is inside the word from {start} to {end}"
