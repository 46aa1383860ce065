"""The words of the parallel phrasebook: each in Malagasy, French and English, with the forms that its grammar needs.

One table a kind (`tables/goods.tsv` and so on), one row a word; the columns are the fields here. Genders are French:
m, f, and mp, fp for what French and English say in the plural.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from trainer.corpus.tables import read_table

Tense = Literal["present", "past", "future"]
TENSES: tuple[Tense, ...] = ("present", "past", "future")
PERSONS = ("je", "il", "nous", "vous", "ils")


@dataclass(frozen=True)
class Noun:
    """Goods, places, units and people. Plurals: where a number or `how many` may stand before it."""

    mg: str
    gender: str
    fr: str
    en: str
    fr_plural: str = ""
    en_plural: str = ""

    @property
    def person(self) -> str:
        return "ils" if self.gender.endswith("p") else "il"


@dataclass(frozen=True)
class Name:
    """A person or a town; the same in all languages."""

    mg: str
    gender: str
    person: str = "il"


@dataclass(frozen=True)
class Pronoun:
    mg: str
    person: str
    fr: str
    en: str

    @property
    def gender(self) -> str:
        return "mp" if self.person in ("nous", "ils") else "m"


Subject = Noun | Name | Pronoun
"""What a verb or an adjective agrees with."""


@dataclass(frozen=True)
class Adjective:
    mg: str
    fr_m: str
    fr_f: str
    fr_mp: str
    fr_fp: str
    en: str
    before_noun: str
    """yes: French puts it before the noun"""

    def french(self, gender: str) -> str:
        return {"m": self.fr_m, "f": self.fr_f, "mp": self.fr_mp, "fp": self.fr_fp}[gender]


@dataclass(frozen=True)
class Verb:
    mg: str
    mg_past: str
    mg_future: str
    je: str
    il: str
    nous: str
    vous: str
    ils: str
    participle: str
    future_stem: str
    particle: str
    """French, after the verb: avoir *besoin*"""
    auxiliary: str
    """of the French perfect: avoir or être"""
    en_third: str
    en_base: str
    en_past: str
    en_place: str
    """English, before a place; `at` is `in` before a town"""

    def malagasy(self, tense: Tense) -> str:
        return {"present": self.mg, "past": self.mg_past, "future": self.mg_future}[tense]

    def french_present(self, person: str) -> str:
        return {"je": self.je, "il": self.il, "nous": self.nous, "vous": self.vous, "ils": self.ils}[person]


@dataclass(frozen=True)
class Label:
    """A day or a month."""

    mg: str
    fr: str
    en: str


@dataclass(frozen=True)
class DayPart:
    """The bare forms follow the name of a day: lundi *matin*."""

    mg: str
    fr: str
    fr_bare: str
    en: str
    en_bare: str


@dataclass(frozen=True)
class When:
    """An adverb that puts its sentence into a tense."""

    mg: str
    fr: str
    en: str
    tense: Tense


@dataclass(frozen=True)
class Number:
    mg: str
    n: int
    figures: str
    """as it is written in all languages, or empty: in words"""


@dataclass(frozen=True)
class PhoneNumber:
    mg: str
    digits: tuple[int, ...]
    figures: str


Entry = Noun | Name | Pronoun | Adjective | Verb | Label | DayPart | When | Number | PhoneNumber
Row = TypeVar("Row", bound=Entry)


def _words(table: str, kind: Callable[..., Row]) -> dict[str, Row]:
    """By the Malagasy word, in the order of the table."""
    return {row["mg"]: kind(**row) for row in read_table(table)}


GOODS, SPOTS, UNITS, PEOPLE = (_words(name, Noun) for name in ("goods", "spots", "units", "persons"))
QUALITIES = _words("qualities", Adjective)
ACTS, MOVES = (_words(name, Verb) for name in ("acts", "moves"))
PRONOUNS = _words("pronouns", Pronoun)
DAYS, MONTHS = (_words(name, Label) for name in ("days", "months"))
PARTS = _words("parts", DayPart)
WHENS = _words("whens", When)
