"""Endless sentence pairs in Malagasy, French and English from a seed: the speech phrasebook, translated.

A `Pair` has one canonical text in each language; the canonical texts translate into each other exactly. `written` makes
from them what a model is shown: now and then a source that says the same in another way (numbers units first, a verb
without its tense, a question mark without its space), and case and punctuation that people leave out. What is held
out is decided by `trainer.corpus.phrasebook.split_of` on the canonical Malagasy text: a held-out pair is never
trained on in any of its forms. Fixed phrases are always trained on.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from trainer.corpus import lexicon, phrasebook
from trainer.corpus.phrasebook import Split
from trainer.corpus.rendering import render
from trainer.corpus.slots import Value, draw, tense_of
from trainer.corpus.tables import read_table
from trainer.corpus.words import TENSES, Tense

LANGUAGES = ("mg", "fr", "en")
WEIGHTS = {"number": 4, "greeting": 3, "market": 5, "place": 5, "time": 4, "life": 6, "phrase": 4}
"""How often each topic is drawn; `phrase` has the fixed phrases."""
SPOKEN = 3
"""Number of the alternative that the speech corpus has, after the three tenses."""
NEW_NAMES = 0.25
"""Share of names and towns that are made up, so that a model learns to copy them."""


@dataclass(frozen=True)
class Pair:
    topic: str
    texts: Mapping[str, str]
    """Canonical sentence by language, with its capital and its full stop or question mark."""
    spoken: str
    """The Malagasy sentence as the speech corpus may have it: numbers in either order, no tenses."""


@dataclass(frozen=True)
class Pattern:
    topic: str
    sides: Mapping[str, str]

    @property
    def speech(self) -> str:
        """The pattern of `trainer.corpus.lexicon` that this one translates."""
        plain = re.sub(r"\[([^\]]*)\]", lambda match: _alternative(match[1], SPOKEN), self.sides["mg"])
        return re.sub(r"\{([a-z]+)\d?\}", r"{\1}", plain)


def _alternative(alternatives: str, number: int) -> str:
    """Number 0 to 3 of `present|past|future[|spoken]`; the present where that one is not given."""
    options = alternatives.split("|")
    return options[number] if number < len(options) else options[0]


@lru_cache(maxsize=1)
def all_patterns() -> dict[str, list[Pattern]]:
    """Patterns by topic, from `tables/patterns.tsv`; the topic `phrase` has the fixed ones."""
    topics: dict[str, list[Pattern]] = {}
    for row in read_table("patterns"):
        topic = row.pop("topic")
        topics.setdefault(topic, []).append(Pattern(topic, row))
    return topics


def finish(text: str, language: str) -> str:
    """Capital, final mark, and the space that French puts before ? and !"""
    text = text[0].upper() + text[1:]
    if text[-1] not in "?!":
        return text + "."
    return re.sub(r"\s*([?!])$", r" \1", text) if language == "fr" else text


def _sentence(pattern: Pattern, language: str, values: dict[str, Value], tense: Tense, spoken: bool = False) -> str:
    alternative = SPOKEN if spoken else TENSES.index(tense)
    text = re.sub(r"\[([^\]]*)\]", lambda match: _alternative(match[1], alternative), pattern.sides[language])
    return finish(render(text, language, values, "present" if spoken else tense, spoken=spoken), language)


def _draw(rng: random.Random) -> Pair:
    topic = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    pattern = rng.choice(all_patterns()[topic])
    values: dict[str, Value] = {}
    for slot in re.findall(r"\{(\w+)\}", pattern.sides["mg"]):
        values[slot] = draw(re.sub(r"\d$", "", slot), rng, NEW_NAMES)
    future = pattern.sides["mg"].startswith("rahoviana no")
    tense: Tense = "future" if future else tense_of(values.get("when"))
    texts = {language: _sentence(pattern, language, values, tense) for language in LANGUAGES}
    return Pair(topic, texts, _sentence(pattern, "mg", values, tense, spoken=rng.random() < 0.6))


def is_heldout(pair: Pair) -> bool:
    """Whether the pair belongs to the split that nothing is trained on."""
    return phrasebook.split_of(pair.texts["mg"], fixed=pair.topic == "phrase") == "heldout"


def pair(rng: random.Random, split: Split = "train") -> Pair:
    """One pair of `split`, drawn with `rng`."""
    while True:
        drawn = _draw(rng)
        if is_heldout(drawn) == (split == "heldout"):
            return drawn


def pairs(seed: int, split: Split = "train") -> Iterator[Pair]:
    """Endless pairs of `split`; the same seed gives the same ones."""
    rng = random.Random(f"{seed}/pairs/{split}")
    while True:
        yield pair(rng, split)


def written(chosen: Pair, source: str, target: str, rng: random.Random) -> tuple[str, str]:
    """(source text, target text) of a pair as people might write it: see the module's docstring."""
    before, after = chosen.texts[source], chosen.texts[target]
    if source == "mg" and rng.random() < 0.5:
        before = chosen.spoken
    if source == "fr" and rng.random() < 0.4:
        before = before.replace(" ?", "?").replace(" !", "!")
    if rng.random() < 0.08:
        before = before.replace("'", "’")
    return _style((before, source), (after, target), rng)


def _exclaim(text: str, language: str) -> str:
    return f"{text[:-1]}{' ' if language == 'fr' else ''}!" if text.endswith(".") else text


def _style(before: tuple[str, str], after: tuple[str, str], rng: random.Random) -> tuple[str, str]:
    """The same liberty with case and punctuation on both sides; (text, language) each."""
    style = rng.random()
    if style < 0.64:
        return before[0], after[0]
    if style < 0.70:
        return _exclaim(*before), _exclaim(*after)
    if style < 0.95:
        left, right = (re.sub(r"\s*[.?!]$", "", text) for text, _ in (before, after))
        if style < 0.80:
            return left, right
        if style < 0.90:
            return left[0].lower() + left[1:], right[0].lower() + right[1:]
        return left.lower(), right.lower()
    return before[0].upper(), after[0].upper()


def speech_patterns() -> set[str]:
    """The patterns of the speech corpus that have a translation here."""
    return {pattern.speech for group in all_patterns().values() for pattern in group}


def untranslated() -> set[str]:
    """Patterns of the speech corpus that are missing here: none, as a test makes sure."""
    return {pattern for group in lexicon.PATTERNS["mg"].values() for pattern in group} - speech_patterns()
