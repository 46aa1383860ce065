"""Words that did not change keep their times; new ones lie between."""

from __future__ import annotations

from milo.transcription.transcript import Word
from milo.transcription.word_alignment import aligned

HEARD = [
    Word(word=f" {word}", start=float(number), end=number + 0.8, probability=0.5)
    for number, word in enumerate("manao ahoana ianareo rehetra".split())
]


def times(words: list[Word]) -> dict[str, tuple[float, float, bool]]:
    return {word.word.strip(): (word.start, word.end, word.interpolated) for word in words}


def test_case_and_punctuation_move_nothing() -> None:
    words = aligned(HEARD, "Manao ahoana, ianareo rehetra!", 0, 3.8)
    assert [(w.start, w.end, w.probability, w.interpolated) for w in words] == [
        (w.start, w.end, 0.5, False) for w in HEARD
    ]
    assert [word.word for word in words] == [" Manao", " ahoana,", " ianareo", " rehetra!"]


def test_a_replaced_word_takes_the_time_of_the_old_one_and_says_that_it_is_guessed() -> None:
    found = times(aligned(HEARD, "manao ahoana ianao rehetra", 0, 3.8))
    assert found["ianao"] == (2.0, 2.8, True) and found["rehetra"] == (3.0, 3.8, False)


def test_new_words_share_the_gap_between_their_neighbours() -> None:
    found = times(aligned(HEARD, "manao tsara ahoana ianareo rehetra", 0, 3.8))
    assert found["tsara"] == (0.8, 1.0, True) and found["ahoana"] == (1.0, 1.8, False)


def test_no_word_goes_back_in_time_where_no_gap_is_left() -> None:
    tight = [Word(word=" iray", start=0, end=1, probability=1), Word(word=" roa", start=1, end=2, probability=1)]
    words = aligned(tight, "iray sy telo roa efatra", 0, 2)
    starts = [word.start for word in words]
    assert starts == sorted(starts) and all(word.end >= word.start for word in words)
    assert times(words)["roa"] == (1, 2, False)


def test_words_that_are_gone_are_gone() -> None:
    assert [word.word for word in aligned(HEARD, "ahoana rehetra", 0, 3.8)] == [" ahoana", " rehetra"]
