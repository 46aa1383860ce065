"""Subtitles that can be read: their lines, their times, where they are cut."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milo.cue_rules import PROFILES, CueRules, parse_rules
from milo.errors import Invalid
from milo.transcription.cues import Cue, Piece, cut, fit, lay_out, spread, timed, width
from milo.transcription.transcript import Segment, Transcript, cues_of, render

BROADCAST = PROFILES["broadcast"]
WINDOW = (
    "Mitady lavanila ny vahiny. Isaky ny alarobia no misy tsena any Toamasina. Isa telo arivo dimanjato efatra amby"
    " enimpolo. Miandry afak'omaly ny vahiny, hono, ry zareo."
)


def cues(text: str, seconds: float, rules: CueRules = BROADCAST, duration_s: float | None = None) -> list[Cue]:
    return timed(
        cut(fit(spread(text, 0.0, seconds), rules), rules), rules, seconds if duration_s is None else duration_s
    )


def whole(text: str, start: float, end: float) -> Transcript:
    """As an engine without word times gives it."""
    numbers = {"confidence": 0.9, "avg_logprob": -0.1, "no_speech_prob": 0.0, "compression_ratio": 1.0}
    segment = Segment(id=0, start=start, end=end, text=text, **numbers)
    about = {"language": "mg", "language_probability": 1.0, "confidence": 0.9, "model": "m@1", "engine": "fake"}
    return Transcript(text=text, duration=end, speech_s=end - start, segments=[segment], **about)


@pytest.mark.parametrize("format", ["srt", "vtt"])
def test_a_window_of_eleven_seconds_without_words_becomes_cues_that_obey_the_rules(format: str) -> None:
    rendered = render(whole(WINDOW, 0.0, 11.0), format)
    lines = [line for line in rendered.splitlines() if line and "-->" not in line and not line.isdigit()][
        format == "vtt" :
    ]
    assert " ".join(lines) == WINDOW
    assert max(map(len, lines)) <= 42
    blocks = re.findall(r"--> .*\n((?:.+\n)+)", rendered)
    assert len(blocks) > 2 and max(block.count("\n") for block in blocks) == 2


def test_each_profile_and_each_number_is_kept() -> None:
    social = cues(WINDOW, 11.0, parse_rules("social"))
    assert all(len(cue.lines) == 1 and len(cue.lines[0]) <= 28 and cue.end_s - cue.start_s <= 3 for cue in social)
    assert {len(cue.lines) for cue in cues(WINDOW, 11.0, parse_rules("plain"))} == {1}
    three = cues(WINDOW, 11.0, parse_rules("line_chars=20,lines=3"))
    assert all(len(line) <= 20 for cue in three for line in cue.lines) and max(len(cue.lines) for cue in three) == 3


def test_two_lines_are_about_as_long_and_break_after_a_phrase() -> None:
    text = "Miverina miaraka amin'ny ray aman-dreny, hono, i Rabe androany."
    (cue,) = cues(text, 5.0)
    assert cue.lines == ("Miverina miaraka amin'ny ray aman-dreny,", "hono, i Rabe androany.")
    assert lay_out(spread("Mora ny omby.", 0, 1), BROADCAST) == ("Mora ny omby.",)


def test_a_short_cue_stays_as_long_as_it_takes_to_read_where_there_is_room() -> None:
    words = [Piece(" Tsia.", 1.0, 1.2), Piece(" Imao", 4.0, 4.2), Piece(" izany.", 4.9, 5.1)]
    first, second, third = timed(cut(words, BROADCAST), BROADCAST, 5.5)
    assert first.start_s == 1.0 and first.end_s == pytest.approx(1.833)
    assert second.start_s == 4.0 and second.end_s == pytest.approx(4.9 - 0.08)
    assert (third.start_s, third.end_s) == (4.9, 5.5)


def test_no_word_is_left_over_for_a_squeezed_last_cue() -> None:
    """84 characters fill a cue; the one word behind it lasts a tenth of a second."""
    words = [Piece(f" fahasivy{n}", n * 0.6, n * 0.6 + 0.6) for n in range(8)] + [Piece(" eny.", 4.8, 4.9)]
    made = timed(cut(words, BROADCAST), BROADCAST, 4.9)
    assert len(made) == 2 and all(cue.end_s - cue.start_s >= BROADCAST.min_s for cue in made)


def test_a_cue_ends_with_a_sentence_if_it_can() -> None:
    assert [cue.lines[-1][-1] for cue in cues(WINDOW, 11.0)] == ["."] * len(cues(WINDOW, 11.0))


def test_what_has_no_spaces_and_what_is_longer_than_a_line_still_fits() -> None:
    japanese = cues("今日は天気がいいですね。散歩に行きましょう。" * 4, 20.0)
    assert all(width(line) <= 42 for cue in japanese for line in cue.lines)
    assert "".join(line for cue in japanese for line in cue.lines) == "今日は天気がいいですね。散歩に行きましょう。" * 4
    address = "https://example.org/" + "a" * 100
    assert all(len(line) <= 42 for cue in cues(f"jereo {address} io", 8.0) for line in cue.lines)


def test_cues_of_words_are_cut_across_segments_but_not_across_languages() -> None:
    base = whole("Manao ahoana", 0.0, 1.0)
    more = base.segments[0].model_copy(update={"id": 1, "start": 1.0, "end": 2.0, "text": "ianao rehetra."})
    other = base.segments[0].model_copy(update={"id": 2, "start": 2.0, "end": 3.0, "text": "Merci.", "language": "fr"})
    made = cues_of(base.model_copy(update={"segments": [*base.segments, more, other], "duration": 3.0}))
    assert [cue.lines for cue in made] == [("Manao ahoana ianao rehetra.",), ("Merci.",)]


word_lists = st.lists(st.text("abn.,’é", min_size=1, max_size=60), min_size=1, max_size=60)
rules = st.builds(
    CueRules,
    line_chars=st.integers(8, 60),
    lines=st.integers(1, 3),
    min_s=st.floats(0, 2),
    max_s=st.floats(2, 10),
    chars_per_s=st.sampled_from([0.0, 15.0, 25.0]),
    gap_s=st.sampled_from([0.0, 0.08]),
)


@given(word_lists, st.floats(0.5, 60), rules)
def test_whatever_is_said_the_rules_hold_and_no_word_is_lost(words: list[str], seconds: float, rules: CueRules) -> None:
    made = cues(" ".join(words), seconds, rules)
    assert "".join("".join(cue.lines) for cue in made).replace(" ", "") == "".join(words)
    for cue, following in zip(made, [*made[1:], None], strict=True):
        assert len(cue.lines) <= rules.lines and all(width(line) <= rules.line_chars for line in cue.lines)
        assert cue.start_s < cue.end_s <= max(seconds, cue.start_s) + 1e-6
        assert cue.end_s - cue.start_s <= rules.max_s + 1e-6
        assert following is None or cue.end_s <= following.start_s + 1e-6


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tv", "broadcast, social, plain"),
        ("social,width=3", "line_chars="),
        ("line_chars=wide", "whole number"),
        ("lines=0", "within 1 and 10"),
        ("min_s=nan", "within"),
        ("min_s=5,max_s=2", "at most 2 s"),
    ],
)
def test_rules_that_nobody_can_keep_are_refused_with_what_may_stand_there(text: str, says: str) -> None:
    with pytest.raises(Invalid, match=says) as caught:
        parse_rules(text)
    assert caught.value.errors and caught.value.errors[0]["parameter"] == "cues"
