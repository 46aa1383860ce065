"""Speech that no word covers: heard again by its spans, else told."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from milo.protocols import DecodeOptions, FakeTranscriber, KeptLanguage, Samples, WindowText, WordTiming
from milo.transcription.coverage import transcribe, uncovered, warnings
from milo.transcription.windows import Window

RUNS = [(0.0, 1.4), (2.3, 3.1), (3.7, 5.0)]
WINDOW = Window(10.0, 15.0, ((10.0, 11.4), (12.3, 13.1), (13.7, 15.0)))


def said(text: str, *times: tuple[float, float], logprob: float = -0.1) -> WindowText:
    words = [WordTiming(f" {word}", *time, 0.9) for word, time in zip(text.split(), times, strict=False)]
    return WindowText(text, [1] * len(text.split()), logprob, 0.0, 1.0, 0.0, "en", 0.9, words)


class Lazy(FakeTranscriber):
    """Writes the first of three sentences for a window of five seconds, as whisper-base did, and each of its own."""

    def __init__(self, whole: WindowText, of_spans: Sequence[WindowText]) -> None:
        super().__init__()
        self._whole, self._of_spans = whole, of_spans

    def transcribe(
        self, windows: Sequence[Samples], options: DecodeOptions, kept: Sequence[KeptLanguage | None] = ()
    ) -> list[WindowText]:
        super().transcribe(windows, options)
        return [self._whole] if len(windows) == 1 else list(self._of_spans)


FIRST = said("ever tried.", (0.0, 0.4), (0.4, 1.4), logprob=-0.84)
EACH = [
    said("Ever tried.", (0.0, 0.4), (0.4, 1.4)),
    said("Laughing.", (0.0, 0.8)),
    said("Do you hear me?", (0.0, 0.3), (0.3, 0.6), (0.6, 0.9), (0.9, 1.3)),
]


def heard(engine: FakeTranscriber) -> WindowText:
    samples = np.ones(5 * 16_000, np.float32)
    (text,) = transcribe(engine, [WINDOW], [samples], [RUNS], DecodeOptions())
    return text


def test_a_window_whose_words_end_before_its_speech_is_decoded_again_by_its_spans() -> None:
    text = heard(Lazy(FIRST, EACH))
    assert text.text == "Ever tried. Laughing. Do you hear me?"
    assert [word.word for word in text.words][2:4] == [" Laughing.", " Do"]
    assert [word.start_s for word in text.words][2:4] == pytest.approx([2.3, 3.7])
    assert len(text.tokens) == 7 and not uncovered(text, RUNS)


def test_what_covers_no_more_is_not_kept() -> None:
    assert heard(Lazy(FIRST, [said(""), said(""), said("")])) == FIRST


def test_a_window_that_is_covered_is_decoded_once() -> None:
    engine = Lazy(said("a b c", (0.0, 1.4), (2.3, 3.1), (3.7, 5.0)), EACH)
    heard(engine)
    assert engine.calls == [1]


def test_without_word_times_too_few_or_too_many_characters_tell() -> None:
    assert uncovered(said("Ever."), RUNS) == RUNS
    assert uncovered(said("Ever tried. " * 20), RUNS) == RUNS
    assert uncovered(said("Ever tried. Laughing. Do you hear me?"), RUNS) == []


def test_what_stays_uncovered_or_doubtful_is_told_with_its_times() -> None:
    lost, doubtful = warnings([(70.0, FIRST, RUNS), (80.0, said("", logprob=0.0), [(0.0, 2.0)])])
    assert lost == "Speech without words, or with too few: 1:12.3 to 1:15.0, 1:20.0 to 1:22.0."
    assert doubtful == "Words of low confidence (under 0.5): 1:10.0 to 1:15.0."
    assert warnings([(0.0, EACH[0], [(0.0, 1.4)]), (5.0, said(""), [(0.0, 0.4)])]) == []


@pytest.mark.parametrize("count", [10, 13])
def test_a_warning_names_at_most_ten_stretches(count: int) -> None:
    (lost,) = warnings([(10.0 * n, said(""), [(0.0, 2.0)]) for n in range(count)])
    assert lost.count(" to ") == 10 and ("and 3 more" in lost) == (count == 13)
