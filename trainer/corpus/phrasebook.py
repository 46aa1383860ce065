"""A phrasebook grammar: endless short sentences in Malagasy, and some in French and English, from a seed.

Two splits that never share a sentence: which one a sentence belongs to is decided by a hash of its text, so neither
the seed nor the order of drawing can move it. Fixed phrases always belong to `train`, and so do the made-up words
that teach spelling by ear: what is held out are sentences.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from milo.language.malagasy import UNITS, NumberOrder, number_words
from trainer.corpus import lexicon

Split = Literal["train", "heldout"]
LANGUAGES = ("mg", "fr", "en")
HELD_OUT_SHARE = 16
"""One sentence in this many is held out."""

_ONSETS = "b d f g h j k l m n p r s t v z ts tr dr mp mb nt nd ndr ntr nk ng nj".split()
_NUCLEI = "a a a a i i i e o o ao ay ia".split()


@dataclass(frozen=True)
class Sentence:
    text: str
    """As it is written: capital first letter, final point or question mark."""
    language: str
    topic: str


def split_of(text: str, *, fixed: bool = False) -> Split:
    """Where a sentence belongs, whatever its case and punctuation. Fixed phrases and single words: `train`."""
    words = re.findall(r"[\w']+", text.lower())
    if fixed or len(words) < 2:
        return "train"
    key = " ".join(words)
    return "heldout" if hashlib.sha256(key.encode()).digest()[0] % HELD_OUT_SHARE == 0 else "train"


def random_number(rng: random.Random, digits: int = 6) -> int:
    """A number of 1 to `digits` digits, long ones a little likelier; a third are round, as prices and years are."""
    n = rng.randrange(10 ** max(rng.randint(1, digits), rng.randint(1, digits)))
    if rng.random() < 0.33:
        n -= n % 10 ** rng.randint(0, max(0, len(str(n)) - 1))
    return n


def pseudo_word(rng: random.Random) -> str:
    """A word that is spelled as Malagasy is and means nothing: what a model must write down by ear."""
    word = rng.choice(["", "", "a", "i", "ma", "fi", "mi"])
    for _ in range(rng.randint(1, 3)):
        word += rng.choice(_ONSETS if word else [o for o in _ONSETS if o != "nk"]) + rng.choice(_NUCLEI)
    word = word.replace("ayi", "ai").replace("aoo", "ao")
    return word[:-1] + "y" if word.endswith("i") else word


def _mg_slot(slot: str, rng: random.Random) -> str:
    order: NumberOrder = rng.choice(("modern", "traditional"))
    if slot == "number":
        return number_words(random_number(rng), order)
    if slot == "big":
        return number_words(random_number(rng, 9), order)
    if slot == "price":
        return number_words(rng.randint(1, 999) * rng.choice((10, 50, 100, 1000)), order)
    if slot == "year":
        return number_words(rng.randint(1800, 2040), order)
    if slot == "phone":
        return " ".join(rng.choice(UNITS) for _ in range(rng.randint(4, 8)))
    ranges = {"small": (2, 30), "hour": (1, 12), "date": (2, 31), "age": (2, 99)}
    if slot in ranges:
        word = number_words(rng.randint(*ranges[slot]), order)
        return f"{word} ora" if slot == "hour" and rng.random() < 0.5 else word
    return rng.choice(lexicon.WORDS["mg"][slot])


_FR_SMALL = (
    "zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize dix-sept dix-huit "
    "dix-neuf"
).split()
_FR_TENS = ("vingt", "trente", "quarante", "cinquante", "soixante")
_EN_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_EN_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def french_number(n: int) -> str:
    """0 <= n < 70 in French words: as far as the numbers are regular."""
    if n < 20:
        return _FR_SMALL[n]
    ten, unit = _FR_TENS[n // 10 - 2], n % 10
    return ten if unit == 0 else f"{ten} et un" if unit == 1 else f"{ten} {_FR_SMALL[unit]}"


def english_number(n: int) -> str:
    """0 <= n < 1000 in English words."""
    if n < 20:
        return _EN_SMALL[n]
    if n < 100:
        return _EN_TENS[n // 10 - 2] + (f" {_EN_SMALL[n % 10]}" if n % 10 else "")
    return f"{_EN_SMALL[n // 100]} hundred" + (f" and {english_number(n % 100)}" if n % 100 else "")


def _other_slot(slot: str, language: str, rng: random.Random) -> str:
    if slot in ("number", "hour", "date"):
        top = {"hour": 12, "date": 31}.get(slot, 69 if language == "fr" else 999)
        n = rng.randint(2, top)
        return french_number(n) if language == "fr" else english_number(n)
    return rng.choice(lexicon.WORDS[language][slot])


def _fill(pattern: str, language: str, rng: random.Random) -> str:
    def value(match: re.Match[str]) -> str:
        return _mg_slot(match[1], rng) if language == "mg" else _other_slot(match[1], language, rng)

    return re.sub(r"\{(\w+)\}", value, pattern)


def _draw(language: str, rng: random.Random) -> tuple[Sentence, bool]:
    if language == "mg":
        topic = rng.choices(list(lexicon.MG_WEIGHTS), list(lexicon.MG_WEIGHTS.values()))[0]
    else:
        topic = "all"
    if topic == "sounds":
        pattern = " ".join(pseudo_word(rng) for _ in range(rng.randint(1, 5)))
    else:
        pattern = rng.choice(lexicon.PATTERNS[language][topic])
    text = _fill(pattern, language, rng)
    text = text[0].upper() + text[1:] + ("" if text.endswith("?") else ".")
    return Sentence(text, language, topic), topic != "sounds" and "{" not in pattern


def sentence(rng: random.Random, language: str = "mg", split: Split = "train") -> Sentence:
    """One sentence of `split`, drawn with `rng`."""
    while True:
        drawn, fixed = _draw(language, rng)
        if split_of(drawn.text, fixed=fixed or drawn.topic == "sounds") == split:
            return drawn


def sentences(seed: int, language: str = "mg", split: Split = "train") -> Iterator[Sentence]:
    """Endless sentences of `split`; the same seed gives the same ones."""
    rng = random.Random(f"{seed}/{language}/{split}")
    while True:
        yield sentence(rng, language, split)
