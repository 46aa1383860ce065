"""The parallel phrasebook: grammar, splits, what it shares with the speech corpus."""

from __future__ import annotations

import itertools
import random
import re
from collections import defaultdict

import pytest

from trainer.corpus import phrasebook, phrasebook_pairs, words
from trainer.corpus.french import elide
from trainer.corpus.rendering import render
from trainer.corpus.slots import Value
from trainer.corpus.words import Name, Tense


def test_every_pattern_of_the_speech_corpus_is_translated() -> None:
    assert phrasebook_pairs.untranslated() == set()


def test_seed_7_gives_these_pairs() -> None:
    """A changed table or a changed order of drawing shows here: the shipped models were trained on these sentences."""
    made = [
        (*(pair.texts[language] for language in phrasebook_pairs.LANGUAGES), pair.spoken)
        for pair in itertools.islice(phrasebook_pairs.pairs(7), 5)
    ]
    assert made == [
        ("2 118 086.", "2 118 086.", "2 118 086.", "2 118 086."),
        ("95897 ariary.", "95897 ariary.", "95897 ariary.", "95897 ariary."),
        (
            "Monina any Antananarivo aho.",
            "J'habite à Antananarivo.",
            "I live in Antananarivo.",
            "Monina any Antananarivo aho.",
        ),
        (
            "Misaotra Fidy, tsara ny boky.",
            "Merci Fidy, les livres sont bons.",
            "Thank you Fidy, the books are good.",
            "Misaotra Fidy, tsara ny boky.",
        ),
        (
            "Tsy mitady trondro ny mpamily.",
            "Le chauffeur ne cherche pas de poisson.",
            "The driver does not look for fish.",
            "Tsy mitady trondro ny mpamily.",
        ),
    ]


def test_the_same_seed_gives_the_same_pairs() -> None:
    first = list(itertools.islice(phrasebook_pairs.pairs(7), 50))
    assert first == list(itertools.islice(phrasebook_pairs.pairs(7), 50))
    assert first != list(itertools.islice(phrasebook_pairs.pairs(8), 50))


def test_no_slot_is_left_open_in_any_language() -> None:
    for pair in itertools.islice(phrasebook_pairs.pairs(1), 4000):
        for text in (*pair.texts.values(), pair.spoken):
            assert not re.search(r"[{}\[\]|~@]|  ", text), text
            assert text[0] == text[0].upper() and text[-1] in ".?!"


@pytest.mark.parametrize(("source", "target"), [("mg", "fr"), ("fr", "mg"), ("mg", "en"), ("fr", "en")])
def test_a_sentence_has_one_translation(source: str, target: str) -> None:
    found = defaultdict(set)
    for pair in itertools.islice(phrasebook_pairs.pairs(2), 6000):
        found[pair.texts[source]].add(pair.texts[target])
    assert [key for key, values in found.items() if len(values) > 1] == []


def test_a_held_out_sentence_is_never_trained_on_in_any_language() -> None:
    train = list(itertools.islice(phrasebook_pairs.pairs(3), 6000))
    for language in phrasebook_pairs.LANGUAGES:
        known = {pair.texts[language] for pair in train}
        heldout = {pair.texts[language] for pair in itertools.islice(phrasebook_pairs.pairs(4, "heldout"), 1000)}
        assert not known & heldout


def test_the_split_is_that_of_the_speech_corpus() -> None:
    for pair in itertools.islice(phrasebook_pairs.pairs(5, "heldout"), 300):
        assert phrasebook.split_of(pair.texts["mg"]) == "heldout"


def test_liberties_with_case_and_punctuation_are_taken_on_both_sides() -> None:
    pair = next(p for p in phrasebook_pairs.pairs(0) if p.texts["mg"].endswith("?"))
    rng = random.Random(0)
    made = {phrasebook_pairs.written(pair, "mg", "fr", rng) for _ in range(300)}
    assert (pair.texts["mg"].upper(), pair.texts["fr"].upper()) in made
    assert all(before.endswith("?") == after.endswith("?") for before, after in made)
    assert all(before[0].isupper() == after[0].isupper() for before, after in made)


@pytest.mark.parametrize(
    ("pattern", "tense", "expected"),
    [
        ("{good.du+quality}", "present", "de bonnes oranges"),
        ("{good+quality}", "present", "les bonnes oranges"),
        ("{person} {act@person+good}", "past", "les parents ont eu besoin d'oranges"),
        ("{person} {act.not@person+good}", "present", "les parents n'ont pas besoin d'oranges"),
        ("{person} {move.a@person+spot}", "past", "les parents sont partis de l'hôpital"),
        ("{spot.un+new}", "present", "un nouvel hôpital"),
        ("{spot.a}", "present", "à l'hôpital"),
        ("de~{name}", "present", "d'Andry"),
    ],
)
def test_french_agrees_contracts_and_elides(pattern: str, tense: Tense, expected: str) -> None:
    values = {
        "good": Value("good", words.GOODS["voasary"]),
        "quality": Value("quality", words.QUALITIES["tsara"]),
        "new": Value("quality", words.QUALITIES["vaovao"]),
        "person": Value("person", words.PEOPLE["ray aman-dreny"]),
        "act": Value("act", words.ACTS["mila"]),
        "move": Value("move", words.MOVES["miainga"]),
        "spot": Value("spot", words.SPOTS["hopitaly"]),
        "name": Value("name", Name("Andry", "m")),
    }
    assert render(pattern, "fr", values, tense) == expected


def test_there_is_no_elision_before_eleven_and_beans() -> None:
    assert elide("de~onze kilos de~haricots et d~un") == "de onze kilos de haricots et d un"
