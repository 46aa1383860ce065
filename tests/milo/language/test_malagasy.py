"""Numbers in words, text for scoring, spelling to sound."""

from __future__ import annotations

import random

import pytest

from milo.errors import Invalid
from milo.language import malagasy
from milo.language.malagasy import number_words, parse_number, phonemes, sounds, spell_digits


@pytest.mark.parametrize(
    ("number", "modern", "traditional"),
    [
        (0, "aotra", "aotra"),
        (1, "iray", "iray"),
        (11, "iraika ambin'ny folo", "iraika ambin'ny folo"),
        (24, "efatra amby roapolo", "efatra amby roapolo"),
        (100, "zato", "zato"),
        (101, "zato iray", "iraika amby zato"),
        (365, "telonjato dimy amby enimpolo", "dimy amby enimpolo sy telonjato"),
        (1000, "arivo", "arivo"),
        (2024, "roa arivo efatra amby roapolo", "efatra amby roapolo sy roa arivo"),
        (10_000, "iray alina", "iray alina"),
        (250_000, "roa hetsy dimy alina", "dimy alina sy roa hetsy"),
        (3_000_000, "telo tapitrisa", "telo tapitrisa"),
    ],
)
def test_numbers_are_said_in_both_orders(number: int, modern: str, traditional: str) -> None:
    assert number_words(number) == modern
    assert number_words(number, "traditional") == traditional


@pytest.mark.parametrize("order", ["modern", "traditional"])
def test_every_number_in_words_parses_back(order: malagasy.NumberOrder) -> None:
    rng = random.Random(0)
    numbers = [*range(2500), 999_999, 1_000_001, malagasy.MAX_NUMBER, *(rng.randrange(10**9) for _ in range(3000))]
    for number in numbers:
        assert parse_number(number_words(number, order)) == number


@pytest.mark.parametrize("number", [-1, 1_000_000_000])
def test_a_number_out_of_range_is_refused(number: int) -> None:
    with pytest.raises(Invalid, match="can't be put into words"):
        number_words(number)


@pytest.mark.parametrize("words", ["", "vary", "roa sy", "sy", "telo vary"])
def test_words_that_are_no_number_are_refused(words: str) -> None:
    with pytest.raises(Invalid):
        parse_number(words)


def test_digits_in_a_text_are_spelled_out() -> None:
    assert spell_digits("2024 sy 12 000") == "roa arivo efatra amby roapolo sy iray alina roa arivo"
    assert spell_digits("007") == "aotra aotra fito"
    assert spell_digits("9999999999").split() == ["sivy"] * 10
    assert spell_digits("tsy misy") == "tsy misy"


def test_spelling_gives_malagasy_sounds() -> None:
    assert sounds("roa")[0] == ["r", "u", "a"]
    assert sounds("vary")[0] == ["v", "a", "r", "i"]
    assert sounds("jiro")[0] == ["dz", "i", "r", "u"]
    assert sounds("trano")[0] == ["t", "s.", "a", "n", "u"]
    assert sounds("misaotra")[0] == ["m", "i", "s", "aU", "t", "s.", "a"]
    assert sounds("manga")[0] == ["m", "a", "N", "g", "a"]


@pytest.mark.parametrize(
    ("word", "stressed_from_end"),
    [("vary", 2), ("efatra", 3), ("enina", 3), ("lehibe", 1), ("manao", 1), ("iraika", 2), ("tompoko", 3)],
)
def test_stress_falls_where_malagasy_puts_it(word: str, stressed_from_end: int) -> None:
    found, stressed = sounds(word)
    nuclei = [i for i, sound in enumerate(found) if sound in malagasy.VOWELS]
    assert nuclei[-stressed_from_end] == stressed


def test_phonemes_keep_punctuation_and_drop_what_cannot_be_said() -> None:
    spoken = phonemes("Roa, telo? 漢字 🎉 [[x")
    assert spoken.startswith("[[r|'u|a]], [[t|'e|l|u]]?")
    assert spoken.count("[[") == spoken.count("]]")
    assert phonemes("漢字 🎉") == phonemes("") == phonemes(" ,. ") == ""


def test_a_sound_that_a_voice_lacks_is_replaced_by_its_nearest() -> None:
    assert malagasy.word_phonemes("manao", known={"a", "u", "m", "n"}) == "m|a|n|'a|u"
    assert "s." not in malagasy.word_phonemes("trano", known={"t", "s", "a", "n", "u"})
