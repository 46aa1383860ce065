"""How a number is written: thousands, decimals, signs, Roman numerals. Figures in, words of a `Wording` out."""

from __future__ import annotations

import re
from dataclasses import dataclass

from milo.language.malagasy import NumberOrder
from milo.synthesis.normalization.wording import Wording

NUMBER = r"(?:\d{1,3}(?: \d{3})+(?!\d)|\d{1,3}(?:\.\d{3})+(?!\d)|\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:[.,]\d+(?![.,]?\d))?"
"""A number as it is written in Madagascar, France or England, without its sign."""
MAX_DIGITS_IN_WORDS = 9
"""A longer unbroken run of digits is an identifier, and is read digit by digit; unless it is round."""
LARGEST = 10**18
_ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}


@dataclass(frozen=True)
class Figure:
    """The digits of a number; `decimals` is empty for a whole one."""

    whole: str
    decimals: str = ""
    grouped: bool = False

    @property
    def one(self) -> bool:
        return int(self.whole[-19:]) == 1 and len(self.whole) < 19 and not self.decimals

    @property
    def plural(self) -> bool:
        return len(self.whole) > 18 or int(self.whole) > 1


def read(written: str, wording: Wording, *, money: bool = False) -> Figure:
    """What `written`, a match of `NUMBER`, means where `wording`'s language is used.

    "5.000" and "5 000" are five thousand in Malagasy and French, "5,000" in English. A single comma before three
    digits in Malagasy and French: thousands in an amount of money or before a final zero, else decimals.
    """
    text = written.replace(" ", "")
    marks = [c for c in text if c in ".,"]
    if not marks:
        return Figure(text, grouped=" " in written)
    last = marks[-1]
    head, _, tail = text.rpartition(last)
    if len(marks) > 1 and len(set(marks)) == 1 or len(marks) == 1 and _is_group(head, tail, last, wording, money):
        return Figure(re.sub(r"[.,]", "", text), grouped=True)
    return Figure(re.sub(r"[.,]", "", head), tail, grouped=len(marks) > 1)


def _is_group(head: str, tail: str, mark: str, wording: Wording, money: bool) -> bool:
    if len(tail) != 3 or len(head) > 3 or head.startswith("0"):
        return False
    if mark == wording.groups:
        return True
    return wording.groups == "." and (money or tail.endswith("0"))


def in_words(figure: Figure, wording: Wording, order: NumberOrder, *, year: bool = False) -> str:
    """The number in words; digit by digit with a leading zero, or when it is too long to be a quantity."""
    whole, digits = figure.whole, wording.digits
    longest = 18 if figure.grouped or whole.endswith("000") else MAX_DIGITS_IN_WORDS
    if (len(whole) > 1 and whole[0] == "0") or len(whole) > longest:
        said = " ".join(digits[int(c)] for c in whole)
    else:
        said = (wording.year if year else wording.number)(int(whole), order)
    if not figure.decimals:
        return said
    decimals = figure.decimals
    if wording.decimals_as_number and decimals[0] != "0" and len(decimals) <= 2:
        return f"{said} {wording.point} {wording.number(int(decimals), order)}"
    return f"{said} {wording.point} {' '.join(digits[int(c)] for c in decimals)}"


def roman(letters: str) -> int:
    """XIV -> 14; 0 when `letters` is not how a Roman numeral is written."""
    if not re.fullmatch(r"(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})", letters):
        return 0
    values = [_ROMAN[c] for c in letters]
    return sum(-v if v < max(values[i + 1 :], default=0) else v for i, v in enumerate(values))
