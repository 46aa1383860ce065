"""The phrasebook grammar: deterministic, in three languages, with sentences that are really held out."""

from __future__ import annotations

import itertools
import random
import re

import pytest

from milo.language.malagasy import parse_number
from trainer.corpus import lexicon, phrasebook
from trainer.corpus.phrasebook import sentences, split_of


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("mg", ["Imao.", "Manan-janaka efatra i Malala.", "Mafana be any Morondava omaly.", "Amin'ny firy izao?"]),
        (
            "fr",
            [
                "Marie mange du sucre tous les jours.",
                "Il est cinq heures.",
                "Merci beaucoup Hugo.",
                "Le marché ferme à sept heures.",
            ],
        ),
        ("en", ["Good morning Henry.", "Lucy eats coffee every day.", "It is ten o'clock.", "I would like some fish."]),
    ],
)
def test_seed_3_gives_these_sentences(language: str, expected: list[str]) -> None:
    assert [sentence.text for sentence in itertools.islice(sentences(3, language), 4)] == expected


@pytest.mark.parametrize("language", phrasebook.LANGUAGES)
def test_the_same_seed_gives_the_same_sentences(language: str) -> None:
    first, second, other = (list(itertools.islice(sentences(seed, language), 50)) for seed in (3, 3, 4))
    assert first == second
    assert first != other


@pytest.mark.parametrize("language", phrasebook.LANGUAGES)
def test_held_out_sentences_are_never_in_training_whatever_the_seed(language: str) -> None:
    train = {s.text for s in itertools.islice(sentences(0, language), 4000)}
    held_out = {s.text for s in itertools.islice(sentences(1, language, "heldout"), 400)}
    assert not train & held_out
    assert len(held_out) > 20


def test_the_split_ignores_case_and_punctuation() -> None:
    for sentence in itertools.islice(sentences(0), 200):
        assert split_of(sentence.text) == split_of(sentence.text.upper().rstrip(".?"))


def test_held_out_sentences_use_only_words_that_training_has() -> None:
    known = {w for s in itertools.islice(sentences(0), 20_000) for w in re.findall(r"[\w'-]+", s.text.lower())}
    seen = {
        w for s in itertools.islice(sentences(5, "mg", "heldout"), 300) for w in re.findall(r"[\w'-]+", s.text.lower())
    }
    assert not seen - known


def test_every_slot_of_every_pattern_can_be_filled() -> None:
    rng = random.Random(0)
    for language, patterns in lexicon.PATTERNS.items():
        for pattern in itertools.chain(*patterns.values()):
            assert "{" not in phrasebook._fill(pattern, language, rng)


def test_sentences_are_written_as_sentences() -> None:
    for sentence in itertools.islice(sentences(2), 300):
        assert sentence.text[0].isupper()
        assert sentence.text[-1] in ".?"
        assert "  " not in sentence.text


def test_numbers_of_the_phrasebook_are_numbers() -> None:
    rng = random.Random(0)
    for _ in range(500):
        parse_number(phrasebook._mg_slot("number", rng))


def test_french_and_english_numbers_are_regular() -> None:
    assert [phrasebook.french_number(n) for n in (0, 17, 21, 42)] == [
        "zéro",
        "dix-sept",
        "vingt et un",
        "quarante deux",
    ]
    assert phrasebook.english_number(342) == "three hundred and forty two"
