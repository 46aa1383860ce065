"""What a language says for numbers, units, signs and abbreviations: the shape of one language's rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from milo.language.malagasy import NumberOrder


@dataclass(frozen=True)
class Money:
    """A currency as it is said: after one, after several, and its hundredths."""

    one: str
    many: str
    cents: str = ""
    """Empty: hundredths are said as a decimal."""


@dataclass(frozen=True, eq=False)
class Wording:
    """The words of one language; hashable by identity. Every string is in its alphabet and holds no digit."""

    language: str
    groups: str
    """The mark between thousands beside the space: "5.000" or "5,000"."""
    number: Callable[[int, NumberOrder], str]
    """A whole number from 0 to 10^18 - 1."""
    year: Callable[[int, NumberOrder], str]
    ordinal: Callable[[int, NumberOrder, bool], str]
    """n, order, feminine -> "fahatelo", "troisième", "third"."""
    ordinals: Sequence[str]
    """Regular expressions of an ordinal in digits: group 1 is the number; a group named f makes it feminine."""
    clock: Callable[[int, int, int, NumberOrder], str]
    """hours, minutes, seconds."""
    digits: Sequence[str]
    point: str
    """Between the whole part and the decimals."""
    dot: str
    """A dot in an address or a version."""
    slash: str
    minus: str
    """Before a negative number."""
    minus_sign: str
    """Between two numbers."""
    plus: str
    to: str
    """Between the ends of a range."""
    out_of: str
    """12/20."""
    per: str
    """Before the second unit in Ar/kg."""
    percent: str
    per_mille: str
    number_sign: str
    """N° before a number."""
    million: tuple[str, str]
    billion: tuple[str, str]
    thousand: str
    day: Callable[[int, NumberOrder], str]
    """A day of the month."""
    months: Sequence[str]
    month_names: Mapping[str, int]
    """Names and abbreviations in lower case, in whichever language such a text may write them."""
    fractions: Mapping[tuple[int, int], str]
    money: Mapping[str, Money]
    """By the code in `quantities.CURRENCIES`."""
    units: Mapping[str, tuple[str, str]]
    """By how it is written, case kept: after one, after several."""
    feminine: frozenset[str]
    """Units before which "un" becomes "une"."""
    signs: Mapping[str, str]
    abbreviations: Sequence[tuple[str, str]]
    """Regular expression, replacement; tried in order, before numbers are put into words."""
    letters: Mapping[str, str]
    single: frozenset[str]
    """Letters that are words by themselves, and so are not named when they stand alone."""
    regnal: Callable[[int, NumberOrder], str]
    """The II of Radama II."""
    numeral: Callable[[int, NumberOrder], str]
    """The II of World War II."""
    power: str
    """Between ten and its exponent."""
    syllables: str = ""
    """Regular expression of a capitalised word of two or three letters that is read, not spelled. Empty: read all."""
    of: str = ""
    """Between "deux millions" and what is counted."""
    decimals_as_number: bool = False
    """3,75 -> "trois virgule soixante-quinze", not digit by digit."""
    extra: Sequence[tuple[str, str]] = ()
    """More rules, tried before all others, on the plain text."""


def spell(text: str, wording: Wording) -> str:
    """The names of the letters and digits in `text`, "SMS" -> "esa ema esa"."""
    names = [wording.digits[int(c)] if c.isdecimal() else wording.letters.get(c.lower(), c) for c in text]
    return " ".join(name for name in names if name.strip())
