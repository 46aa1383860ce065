"""Cues: cut where a reader expects it, with times of the original file."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from milo.audio.vad import FRAME_S
from milo.protocols import WindowText, WordTiming
from milo.transcription.segments import SIZES, compose
from milo.transcription.transcript import Transcript


def said(words: list[WordTiming], **fields: object) -> WindowText:
    values: dict[str, object] = {
        "text": "".join(word.word for word in words),
        "tokens": [1] * len(words),
        "avg_logprob": -0.1,
        "no_speech_prob": 0.0,
        "compression_ratio": 1.0,
        "temperature": 0.0,
        "language": "mg",
        "language_probability": 0.9,
        "words": words,
    }
    return WindowText(**(values | fields))  # type: ignore[arg-type]


def every(step_s: float, *texts: str, start_s: float = 0.0) -> list[WordTiming]:
    return [
        WordTiming(f" {text}", start_s + i * step_s, start_s + (i + 0.9) * step_s, 0.9) for i, text in enumerate(texts)
    ]


def transcript(*heard: tuple[float, float, WindowText], spoken: Sequence[tuple[float, float]] = ()) -> Transcript:
    """`spoken`: where the voice activity detector heard speech in the first 100 s; nowhere by default."""
    at_s = np.arange(round(100 / FRAME_S)) * FRAME_S
    probabilities = sum(((at_s >= a) & (at_s < b)).astype(np.uint8) * np.uint8(250) for a, b in spoken)
    return compose(
        heard,
        duration_s=100,
        speech_s=20,
        frame_probabilities=np.broadcast_to(np.asarray(probabilities, np.uint8), at_s.shape),
        model="m@1",
        engine="fake",
        task="transcribe",
    )


def test_no_windows_give_an_empty_transcript_and_no_numbers() -> None:
    empty = transcript()
    assert (empty.text, empty.segments, empty.confidence, empty.language) == ("", [], None, None)


def test_times_are_those_of_the_original_file_whatever_the_order_of_the_windows() -> None:
    late = (50.0, 52.0, said(every(0.5, "roa", "telo")))
    early = (10.0, 12.0, said(every(0.5, "iray")))
    result = transcript(late, early)
    assert result.text == "iray roa telo"
    assert [(s.start, s.end) for s in result.segments] == [(10.0, 10.45), (50.0, 50.95)]
    assert [s.id for s in result.segments] == [0, 1]


def test_a_pause_between_words_starts_a_new_cue() -> None:
    words = every(0.4, "manao", "ahoana") + every(0.4, "tompoko", start_s=2.0)
    assert [s.text for s in transcript((0, 3, said(words))).segments] == ["manao ahoana", "tompoko"]


def test_no_cue_is_longer_than_a_reader_can_take() -> None:
    words = every(0.3, *["faharoapolo"] * 80)
    segments = transcript((0, 30, said(words))).segments
    assert all(s.end - s.start <= SIZES.max_s and len(s.text) <= SIZES.lines * SIZES.line_chars for s in segments)
    assert " ".join(s.text for s in segments).split() == ["faharoapolo"] * 80
    assert all(a.end <= b.start for a, b in zip(segments, segments[1:], strict=False))


def test_a_long_cue_is_cut_after_a_sentence_if_there_is_one() -> None:
    words = every(0.5, *"eny eny eny eny eny eny eny eny eny. fa fa fa fa fa fa fa fa".split())
    assert transcript((0, 10, said(words))).segments[0].text.endswith("eny.")


def test_without_word_times_a_short_text_is_one_segment_with_its_tokens() -> None:
    text = said([], text=" salama tompoko ", tokens=[5, 6])
    (segment,) = transcript((3.0, 5.0, text)).segments
    assert (segment.start, segment.end, segment.text, segment.tokens) == (3.0, 5.0, "salama tompoko", [5, 6])


def test_without_word_times_a_long_text_is_cut_over_the_speech_of_its_window() -> None:
    sentence = "Mitady lavanila ny vahiny izay tonga omaly hariva."
    result = transcript((10.0, 25.0, said([], text=f"{sentence} {sentence} {sentence}")), spoken=[(12, 24)])
    assert [s.text for s in result.segments] == [sentence] * 3
    assert all(s.end - s.start <= SIZES.max_s and not s.words for s in result.segments)
    assert result.segments[0].start == pytest.approx(12.0, abs=0.06)
    assert result.segments[1].start == pytest.approx(16.0, abs=0.1)
    assert result.segments[2].end == pytest.approx(24.0, abs=0.05)
    assert result.text == f"{sentence} {sentence} {sentence}"


def test_a_text_without_spaces_is_cut_and_stays_without() -> None:
    result = transcript((0, 30, said([], text="今日は天気がいいですね。" * 12, language="ja")))
    assert result.text == "今日は天気がいいですね。" * 12
    assert len(result.segments) > 2 and "".join(s.text for s in result.segments) == result.text


def test_the_language_is_that_of_most_speech_and_not_of_most_silence() -> None:
    far_apart = (0.0, 90.0, said(every(0.5, "un", "deux"), language="fr"))
    close = (90.0, 99.0, said(every(0.5, "iray", "roa")))
    assert transcript(far_apart, close, spoken=[(0, 1), (89, 90), (91, 98)]).language == "mg"


def test_confidence_is_the_mean_over_all_tokens_and_language_that_of_most_speech() -> None:
    one = said(every(0.5, *["a"] * 9), avg_logprob=-0.2)
    other = said(every(0.5, *["b"] * 4), avg_logprob=-1.0, language="fr")
    result = transcript((0, 10, one), (20, 24, other))
    assert result.confidence == round(math.exp((-0.2 * 10 - 1.0 * 5) / 15), 4)
    assert result.language == "mg"
    assert {s.confidence for s in result.segments} == {round(math.exp(-0.2), 4), round(math.exp(-1.0), 4)}


def test_a_window_without_text_leaves_no_trace() -> None:
    result = transcript((0, 2, said([], text="", tokens=[])), (5, 6, said(every(0.5, "eny"))))
    assert len(result.segments) == 1 and result.text == "eny"


def test_words_do_not_take_the_silence_beside_them() -> None:
    words = [
        WordTiming(" manao", 0.0, 0.6, 0.9),
        WordTiming(" ahoana", 0.6, 2.0, 0.9),
        WordTiming(" eny", 2.0, 2.9, 0.9),
    ]
    (first, second) = transcript((10.0, 13.0, said(words)), spoken=[(10.25, 11.3), (12.1, 12.6)]).segments
    assert (first.text, second.text) == ("manao ahoana", "eny")
    assert (first.start, first.end) == (pytest.approx(10.2, abs=0.04), pytest.approx(11.3, abs=0.04))
    assert (second.start, second.end) == (pytest.approx(12.05, abs=0.04), pytest.approx(12.6, abs=0.04))


def test_segments_without_words_lie_in_the_speech_of_their_window() -> None:
    spoken = [(10.25, 11.3), (12.1, 13.6)]
    first, second = transcript((10.0, 14.0, said([], text="manao ahoana tompoko eny")), spoken=spoken).segments
    assert (first.start, first.end) == (pytest.approx(10.2, abs=0.04), pytest.approx(11.3, abs=0.04))
    assert 12.0 < second.start < 12.4 and second.end == pytest.approx(13.6, abs=0.04)


def test_a_word_in_which_the_detector_heard_nothing_keeps_its_times() -> None:
    (cue,) = transcript((10.0, 12.0, said(every(0.5, "iray", "roa"))), spoken=[(40, 41)]).segments
    assert [(w.start, w.end) for w in cue.words] == [(10.0, 10.45), (10.5, 10.95)]


def test_a_word_of_one_frame_before_the_speech_is_put_where_it_was_heard() -> None:
    """As a small model aligns a recording of one word: 0.44 to 0.46 s, where the speech is from 0.6 to 0.9 s."""
    (cue,) = transcript((0.44, 1.22, said([WordTiming(" Tsia.", 0.0, 0.02, 0.9)])), spoken=[(0.6, 0.9)]).segments
    assert (cue.start, cue.end) == (pytest.approx(0.57, abs=0.04), pytest.approx(0.9, abs=0.04))


def test_words_that_share_one_moment_get_the_time_they_take_to_say() -> None:
    words = [WordTiming(" Toamasina.", 0.0, 5.9, 0.9), *every(0.02, "Isa", "telo", "arivo", "dimanjato", start_s=5.9)]
    segments = transcript((0, 6, said(words)), spoken=[(0, 6)]).segments
    flat = [word for segment in segments for word in segment.words]
    assert [w.word.strip() for w in flat] == ["Toamasina.", "Isa", "telo", "arivo", "dimanjato"]
    assert all(w.end - w.start >= 0.05 * len(w.word.strip(" .")) for w in flat)
    assert flat[-1].end == pytest.approx(6.0, abs=0.05)


def test_a_stop_within_a_word_does_not_shorten_it() -> None:
    words = [WordTiming(" roapolo", 0.5, 1.5, 0.9)]
    (cue,) = transcript((10.0, 12.0, said(words)), spoken=[(10.5, 10.9), (11.1, 11.5)]).segments
    assert (cue.start, cue.end) == (pytest.approx(10.5, abs=0.04), pytest.approx(11.5, abs=0.04))


cuts = st.lists(st.integers(0, 600), min_size=2, max_size=40, unique=True).map(sorted)


@given(cuts, cuts, st.integers(0, 40))
def test_times_are_in_order_and_not_empty_wherever_speech_is(edges: list[int], spoken: list[int], offset: int) -> None:
    times = [edge * 0.02 for edge in edges]
    words = [WordTiming(f" w{n}", a, b, 0.9) for n, (a, b) in enumerate(zip(times, times[1:], strict=False))]
    heard = [(a * 0.05, b * 0.05) for a, b in zip(spoken[::2], spoken[1::2], strict=False)]
    result = transcript((offset, offset + 12.0, said(words)), spoken=heard)
    flat = [time for segment in result.segments for word in segment.words for time in (word.start, word.end)]
    assert flat == sorted(flat) and len(flat) == 2 * len(words)
    assert all(w.start < w.end for segment in result.segments for w in segment.words)
