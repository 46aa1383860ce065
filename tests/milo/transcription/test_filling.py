"""Windows that are filled: full, whole, and with times that lead back to the very sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milo.protocols import DecodeOptions, FakeTranscriber, KeptLanguage, Samples, WindowText, WordTiming
from milo.transcription.coverage import transcribe
from milo.transcription.decoded_speech import DecodedSpeech, Window, plan_windows
from milo.transcription.filling import SHORTENED_S
from milo.transcription.windows import heard_probabilities
from tests.milo.transcription.test_windows import edges, made_up
from tests.support.audio_factory import RATE_HZ

OF_TWO = Window(10.0, 50.0, ((10.0, 12.0), (48.0, 50.0)), ((10.0, 12.5), (47.5, 50.0)))
"""Two sentences of 2 s with half a minute between them."""


def filled(speech: DecodedSpeech, pack_s: float = 30.0, max_s: float = 30.0) -> list[Window]:
    return plan_windows(speech, pack_window_s=pack_s, max_window_s=max_s, filled=True)


@settings(deadline=None, max_examples=40)
@given(edges, st.floats(0.5, 40), st.floats(1, 40), st.integers(0, 5), st.booleans())
def test_filled_windows_keep_their_promises(
    edges_s: list[float], pack_s: float, max_s: float, seed: int, quiet: bool
) -> None:
    speech = made_up(edges_s, seed, quiet)
    windows = filled(speech, pack_s, max_s)
    flat = [edge for window in windows for piece in window.slices for edge in piece]
    assert flat == sorted(flat), "in order, without overlap"
    assert all(0 < window.duration_s <= max_s + 1e-9 for window in windows)
    assert all((window.start_s, window.end_s) == (window.spans[0][0], window.spans[-1][1]) for window in windows)
    covered = sum(end - start for window in windows for start, end in window.spans)
    assert covered == pytest.approx(speech.speech_s, abs=1e-6)
    for window in windows:
        assert all(any(a <= start and end <= b for a, b in window.slices) for start, end in window.spans)
        pauses = zip(window.slices, window.slices[1:], strict=False)
        assert all(start - end >= 0 for (_, end), (start, _) in pauses)


@settings(deadline=None, max_examples=40)
@given(edges, st.floats(2, 40), st.integers(0, 5))
def test_every_moment_of_a_window_leads_back_to_its_own_sample(edges_s: list[float], pack_s: float, seed: int) -> None:
    speech = made_up(edges_s, seed)
    for window in filled(speech, pack_s):
        heard = window.samples(speech)
        assert len(heard) == round(window.duration_s * RATE_HZ)
        for at in np.linspace(0, len(heard) - 1, 17).astype(int).tolist():
            behind_s = window.recorded_s(at / RATE_HZ)
            place = round((window.start_s + behind_s) * RATE_HZ)
            assert heard[at] == speech.slice(place, place + 1)[0]
            assert window.heard_s(behind_s) == pytest.approx(at / RATE_HZ, abs=1e-6)
        for start, end in window.spans:
            for edge, is_end in ((start, False), (end, True)):
                at_s = window.heard_s(edge - window.start_s)
                assert window.start_s + window.recorded_s(at_s, end=is_end) == pytest.approx(edge, abs=1e-6)


def test_a_recording_of_long_pauses_fills_its_windows() -> None:
    """A sentence of 4 s every 20 s: without filling each is a window of its own."""
    speech = made_up([edge for n in range(30) for edge in (20.0 * n, 20.0 * n + 4)])
    windows = filled(speech)
    assert len(plan_windows(speech, pack_window_s=30, max_window_s=30)) == 30
    assert len(windows) == 5
    assert sum(window.duration_s for window in windows) / (30 * len(windows)) > 0.95
    assert all(window.end_s - window.start_s > 90 for window in windows)


def test_talk_without_long_pauses_fills_its_windows() -> None:
    """Spans of 22 s, that is one a window, with pauses of 0.2 s in them."""
    speech = made_up([edge for n in range(12) for edge in (23.0 * n, 23.0 * n + 22)], seed=3)
    windows, before = filled(speech), plan_windows(speech, pack_window_s=30, max_window_s=30)
    assert speech.speech_s / (30 * len(before)) < 0.75
    assert speech.speech_s / (30 * len(windows)) > 0.85


def test_a_silence_within_a_window_is_shortened_and_not_removed() -> None:
    (window,) = filled(made_up([0, 2, 3.5, 5, 60, 62]))
    assert window.slices == ((0, 2.5), (3.0, 5.5), (59.5, 62))
    assert window.duration_s == 2 + 1.5 + 2 + 2 * SHORTENED_S


class Timed(FakeTranscriber):
    """Two words for the window of two sentences, and one for each of them."""

    def __init__(self) -> None:
        super().__init__()
        self.lengths: list[int] = []

    def transcribe(
        self, windows: Sequence[Samples], options: DecodeOptions, kept: Sequence[KeptLanguage | None] = ()
    ) -> list[WindowText]:
        self.lengths += [len(window) for window in windows]
        if len(windows[0]) > 3 * RATE_HZ:
            words = [WordTiming(" far", 0.0, 1.9, 0.9), WordTiming(" apart", 3.0, 4.9, 0.9)]
            return [WindowText("far apart" if options.word_timestamps else "far", [1], -0.1, 0, 1, 0, "en", 1, words)]
        return super().transcribe(windows, options, kept)


def test_words_of_a_packed_window_are_timed_in_the_recording() -> None:
    (text,) = transcribe(Timed(), [OF_TWO], [np.ones(5 * RATE_HZ, np.float32)], [[(0.0, 2.0)]], DecodeOptions())
    assert [(word.word, word.start_s, word.end_s) for word in text.words] == [
        (" far", 0.0, 1.9),
        (" apart", 38.0, 39.9),
    ]


def test_a_packed_window_is_decoded_again_by_its_own_spans() -> None:
    engine = Timed()
    runs = [(0.0, 2.0), (20.0, 22.0), (38.0, 40.0)]
    transcribe(engine, [OF_TWO], [np.ones(5 * RATE_HZ, np.float32)], [runs], DecodeOptions())
    assert engine.lengths == [5 * RATE_HZ, 2 * RATE_HZ, 2 * RATE_HZ]


def test_what_no_window_hears_counts_as_silence() -> None:
    speech = made_up([0, 2, 60, 62], quiet=False)
    heard = heard_probabilities(speech, filled(speech))
    assert heard[: 2 * RATE_HZ // 512].all() and heard[60 * RATE_HZ // 512 : 62 * RATE_HZ // 512].all()
    assert not heard[4 * RATE_HZ // 512 : 58 * RATE_HZ // 512].any()
