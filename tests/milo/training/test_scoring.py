"""What counts as an error, and what does not."""

from __future__ import annotations

import pytest

from milo.training.scoring import SCORING_VERSION, normalise_for_scoring, raw_words, scored_pair


def test_case_punctuation_and_spaces_do_not_count() -> None:
    assert normalise_for_scoring("  Ambin’ny folo,\n RAHA-tsy… «ô» 'ny ") == "ambin'ny folo raha tsy ô ny"
    assert normalise_for_scoring("!?…") == ""


def test_it_does_not_depend_on_unicode_form_and_is_stable() -> None:
    assert normalise_for_scoring("o\u0302") == normalise_for_scoring("\u00f4")
    once = normalise_for_scoring("Ny ‘anarako’ dia: Rakoto! 1984, 12 500 Ar")
    assert normalise_for_scoring(once) == once


def test_tags_soft_hyphens_and_ligatures_do_not_count() -> None:
    assert normalise_for_scoring("[noise] mano\u00ad<unk> tompo\u00adko") == "mano tompoko"
    assert normalise_for_scoring("ambin\u02bbny c\u0153ur Stra\u00dfe") == "ambin'ny coeur strasse"


@pytest.mark.parametrize(
    ("language", "figures", "words"),
    [
        ("mg", "Tamin'ny 2024", "tamin'ny roa arivo efatra amby roapolo"),
        ("mg", "2024", "efatra amby roapolo sy roa arivo"),
        ("mg", "12 500 Ar", "iray alina roa arivo dimanjato ar"),
        ("mg", "12.500 Ar", "iray alina roa arivo dimanjato ar"),
        (
            "fr",
            "En 1984, 21 % des 80",
            "en mille neuf cent quatre-vingt-quatre, vingt et un pour cent des quatre-vingts",
        ),
        ("fr", "1984", "dix-neuf cent quatre-vingt-quatre"),
        ("fr", "le 1er mai, 3,75", "Le premier mai, trois virgule soixante-quinze."),
        ("fr", "12\u202f000", "douze mille"),
        ("en", "In 1984", "in nineteen eighty-four"),
        ("en", "1984 cats", "one thousand nine hundred and eighty-four cats"),
        ("en", "105", "one hundred five"),
        ("en", "12,000 and the 2nd", "twelve thousand and the second"),
    ],
)
def test_a_number_in_figures_is_the_same_in_words(language: str, figures: str, words: str) -> None:
    for pair in ((figures, words), (words, figures), (figures, figures)):
        wanted, given = scored_pair(*pair, language)
        assert wanted == given and not any(letter.isdigit() for letter in wanted)


def test_another_number_is_an_error_and_other_languages_keep_figures() -> None:
    assert len(set(scored_pair("1984", "nineteen eighty-five", "en"))) == 2
    assert len(set(scored_pair("2024", "roa arivo telo amby roapolo", "mg"))) == 2
    assert scored_pair("12 Uhr", "12 Uhr", "de") == ("12 uhr", "12 uhr")
    assert normalise_for_scoring("x2 v1.2") == "x2 v1 2", "figures in a name are no number"


def test_the_raw_text_keeps_all_but_spaces() -> None:
    assert raw_words("  <unk> Ambin’ny\n 2024, o\u0302 ") == "<unk> Ambin’ny 2024, \u00f4"


def test_the_version_changes_with_what_is_compared() -> None:
    """These are the texts of version milo-3. Where one changes, the version must, too, or old WER would be compared."""
    assert SCORING_VERSION == "milo-3"
    known = {"mg": "[x] Œ ß 21 5.000", "fr": "3,5 % 1er", "en": "1st 5,000 2.5", "sw": "12"}
    assert {language: normalise_for_scoring(text, language) for language, text in known.items()} == {
        "mg": "oe ss iraika amby roapolo dimy arivo",
        "fr": "trois virgule cinq pour cent premier",
        "en": "first five thousand two point five",
        "sw": "12",
    }
