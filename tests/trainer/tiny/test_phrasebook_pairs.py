"""The parallel phrasebook: grammar, splits, what it shares with the speech corpus."""

from __future__ import annotations

import itertools
import random
import re
from collections import defaultdict

import pytest

from trainer.tiny.corpus import parallel_lexicon as words
from trainer.tiny.corpus import phrasebook, phrasebook_pairs
from trainer.tiny.corpus.parallel_values import Value, elide, render


def test_every_pattern_of_the_speech_corpus_is_translated() -> None:
    assert phrasebook_pairs.untranslated() == set()


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


def _value(kind: str, table: dict[str, list[str]], word: str) -> Value:
    return Value(kind, word, table[word])


@pytest.mark.parametrize(
    ("pattern", "tense", "expected"),
    [
        ("{good.du+quality}", 0, "de bonnes oranges"),
        ("{good+quality}", 0, "les bonnes oranges"),
        ("{person} {act@person+good}", 1, "les parents ont eu besoin d'oranges"),
        ("{person} {act.not@person+good}", 0, "les parents n'ont pas besoin d'oranges"),
        ("{person} {move.a@person+spot}", 1, "les parents sont partis de l'hôpital"),
        ("{spot.un+new}", 0, "un nouvel hôpital"),
        ("{spot.a}", 0, "à l'hôpital"),
        ("de~{name}", 0, "d'Andry"),
    ],
)
def test_french_agrees_contracts_and_elides(pattern: str, tense: int, expected: str) -> None:
    values = {
        "good": _value("good", words.GOODS, "voasary"),
        "quality": _value("quality", words.QUALITIES, "tsara"),
        "new": _value("quality", words.QUALITIES, "vaovao"),
        "person": _value("person", words.PERSONS, "ray aman-dreny"),
        "act": _value("act", words.ACTS, "mila"),
        "move": _value("move", words.MOVES, "miainga"),
        "spot": _value("spot", words.SPOTS, "hopitaly"),
        "name": Value("name", "Andry"),
    }
    assert render(pattern, "fr", values, tense) == expected


def test_there_is_no_elision_before_eleven_and_beans() -> None:
    assert elide("de~onze kilos de~haricots et d~un") == "de onze kilos de haricots et d un"
