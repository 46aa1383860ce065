"""What fills the slots of the parallel phrasebook: a word of a table, a name, or a number, drawn with a seed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from milo.language.malagasy import UNITS as DIGITS
from milo.language.malagasy import number_words
from trainer.corpus import lexicon, phrasebook, words
from trainer.corpus.words import Entry, Name, Number, PhoneNumber, Subject, Tense, When

DIGIT_SHARE = 0.25
"""Share of numbers that are written in figures; a model has to copy those."""
FOREIGN_SHARE = 0.15
"""of names and towns"""
_FOREIGN_CITIES = "Paris Lyon Marseille Nantes Bordeaux Lille Strasbourg Rennes London Dublin Boston Chicago".split()
_FOREIGN_NAMES = "Marie Pierre Julie Paul Claire Thomas Sophie Luc Anne Hugo Mary Peter Alice John Emma David".split()
_TABLES: Mapping[str, Mapping[str, Entry]] = {
    "good": words.GOODS,
    "spot": words.SPOTS,
    "unit": words.UNITS,
    "person": words.PEOPLE,
    "quality": words.QUALITIES,
    "act": words.ACTS,
    "move": words.MOVES,
    "pronoun": words.PRONOUNS,
    "day": words.DAYS,
    "month": words.MONTHS,
    "part": words.PARTS,
    "when": words.WHENS,
}
_RANGES = {"small": (2, 30), "hour": (1, 12), "date": (2, 31), "age": (2, 99), "year": (1800, 2040)}


@dataclass(frozen=True)
class Value:
    """What stands in one slot."""

    kind: str
    """The slot's name, such as good or hour."""
    entry: Entry
    spoken: str = ""
    """Another way to say it in Malagasy, as the speech corpus does: a number with its units first."""

    @property
    def subject(self) -> Subject:
        """The entry as something that verbs and adjectives agree with."""
        assert isinstance(self.entry, Subject), f"nothing agrees with a {self.kind}"
        return self.entry


def draw(kind: str, rng: random.Random, new_names: float) -> Value:
    """A value for a slot of this kind. `new_names`: the share of names and towns that are made up."""
    if kind in ("name", "city"):
        return _draw_name(kind, rng, new_names)
    if kind == "phone":
        return _draw_phone_number(rng)
    if kind not in _TABLES:
        return _draw_number(kind, rng)
    table = _TABLES[kind]
    word = rng.choice([w for w in table if w != "anio"])
    return Value(kind, table[word], "anio" if word == "androany" and rng.random() < 0.5 else "")


def tense_of(when: Value | None) -> Tense:
    """The tense of a sentence with this adverb; without one, the present."""
    return when.entry.tense if when and isinstance(when.entry, When) else "present"


def _draw_name(kind: str, rng: random.Random, new_names: float) -> Value:
    if rng.random() < new_names:
        name = _new_name(rng)
    else:
        foreign = rng.random() < FOREIGN_SHARE
        local = lexicon.WORDS["mg"][kind]
        name = rng.choice(({"name": _FOREIGN_NAMES, "city": _FOREIGN_CITIES}[kind]) if foreign else local)
    return Value(kind, Name(name, lexicon.GENDERS.get(name, "m")))


def _new_name(rng: random.Random) -> str:
    """A name nobody has, of Malagasy or any other spelling."""
    if rng.random() < 0.7:
        return phrasebook.pseudo_word(rng).capitalize()
    letters = "bcdfghjklmnprstvwxz", "aeiouy"
    return "".join(rng.choice(letters[i % 2]) for i in range(rng.randint(3, 9))).capitalize()


def _draw_phone_number(rng: random.Random) -> Value:
    digits = tuple(rng.randrange(10) for _ in range(rng.randint(4, 8)))
    figures = "".join(map(str, digits)) if rng.random() < DIGIT_SHARE else ""
    text = figures or " ".join(DIGITS[n] for n in digits)
    return Value("phone", PhoneNumber(text, digits, figures), text)


def _draw_number(kind: str, rng: random.Random) -> Value:
    if kind in _RANGES:
        n = rng.randint(*_RANGES[kind])
    elif kind == "price":
        n = rng.randint(1, 999) * rng.choice((10, 50, 100, 1000))
    else:
        n = phrasebook.random_number(rng, 9 if kind == "big" else 6)
    if rng.random() < DIGIT_SHARE:
        figures = f"{n:,}".replace(",", " ") if n > 9999 and rng.random() < 0.5 else str(n)
        return Value(kind, Number(figures, n, figures), figures)
    spoken = number_words(n, rng.choice(("modern", "traditional")))
    link = rng.choice(("amby", "ambin'ny"))
    return Value(kind, Number(number_words(n), n, ""), spoken.replace("ambin'ny folo", f"{link} folo"))
