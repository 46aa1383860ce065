"""Rules of written and spoken Malagasy: numbers in words, spelling to sound.

Knows nothing of audio, models or eSpeak's library; it only writes the phoneme mnemonics that eSpeak NG reads
(https://github.com/espeak-ng/espeak-ng/blob/master/docs/phonemes.md). Sources of the rules: R. B. Rasoloson and
C. Rubino, "Malagasy", in Adelaar & Himmelmann (eds.), The Austronesian Languages of Asia and Madagascar (2005);
https://en.wikipedia.org/wiki/Malagasy_language (orthography, stress, numerals).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from typing import Literal

from milo.errors import Invalid

NumberOrder = Literal["modern", "traditional"]
MAX_NUMBER = 999_999_999

UNITS = ("aotra", "iray", "roa", "telo", "efatra", "dimy", "enina", "fito", "valo", "sivy")
TENS = ("folo", "roapolo", "telopolo", "efapolo", "dimampolo", "enimpolo", "fitopolo", "valopolo", "sivifolo")
HUNDREDS = (
    "zato",
    "roanjato",
    "telonjato",
    "efajato",
    "dimanjato",
    "eninjato",
    "fitonjato",
    "valonjato",
    "sivinjato",
)
POWERS = {"arivo": 1_000, "alina": 10_000, "hetsy": 100_000}
"""Each takes one digit before it; `arivo` alone is 1000."""
MILLION = "tapitrisa"
_VALUES = (
    {word: n for n, word in enumerate(UNITS)}
    | {word: 10 * n for n, word in enumerate(TENS, 1)}
    | {word: 100 * n for n, word in enumerate(HUNDREDS, 1)}
    | {"iraika": 1, "haotra": 0}
)

APOSTROPHES = dict.fromkeys(map(ord, "’‘ʼʻ`´′"), "'")


def _under_hundred(n: int) -> str:
    unit, ten = n % 10, n // 10
    if ten == 0:
        return UNITS[unit]
    if unit == 0:
        return TENS[ten - 1]
    one = "iraika" if unit == 1 else UNITS[unit]
    return f"{one} ambin'ny {TENS[0]}" if ten == 1 else f"{one} amby {TENS[ten - 1]}"


def _powers(n: int) -> list[str]:
    """The thousands of n < 1 000 000, largest first: 123 000 -> iray hetsy, roa alina, telo arivo."""
    parts = []
    for word, value in sorted(POWERS.items(), key=lambda item: -item[1]):
        digit = n // value % 10
        if digit:
            parts.append(word if (word, digit) == ("arivo", 1) else f"{UNITS[digit]} {word}")
    return parts


def _modern(n: int) -> str:
    parts = [f"{_modern(n // 1_000_000)} {MILLION}"] if n >= 1_000_000 else []
    parts += _powers(n % 1_000_000)
    if n // 100 % 10:
        parts.append(HUNDREDS[n // 100 % 10 - 1])
    if n % 100 or not parts:
        parts.append(_under_hundred(n % 100))
    return " ".join(parts)


def _traditional(n: int) -> str:
    small, hundred = n % 100, n // 100 % 10
    parts = [_under_hundred(small)] if small or n == 0 else []
    if hundred == 1 and small:
        parts = [f"{parts[0]} amby {HUNDREDS[0]}"]
    elif hundred:
        parts.append(HUNDREDS[hundred - 1])
    parts += reversed(_powers(n % 1_000_000))
    if n >= 1_000_000:
        parts.append(f"{_modern(n // 1_000_000)} {MILLION}")
    if parts[0] == "iray" and len(parts) > 1:
        parts[0] = "iraika"
    return " sy ".join(parts).replace("iray amb", "iraika amb")


def number_words(n: int, order: NumberOrder = "modern") -> str:
    """n in words, 0 <= n <= 999 999 999, in either order in use.

    modern: largest first, 2024 -> "roa arivo efatra amby roapolo".
    traditional: units first, 2024 -> "efatra amby roapolo sy roa arivo"; the count of millions stays in modern
    order, because "telo sy roanjato tapitrisa" could otherwise be 203 000 000 as well as 200 000 003.
    Raises `Invalid` outside the range.
    """
    if not 0 <= n <= MAX_NUMBER:
        raise Invalid(f"{n} can't be put into words: only 0 to {MAX_NUMBER} can", code="number_out_of_range")
    return _modern(n) if order == "modern" else _traditional(n)


def parse_number(words: str) -> int:
    """The number that `words` say, in either order: the inverse of `number_words`. Raises `Invalid` if it isn't one."""
    total = 0
    for part in re.split(r"\s+sy\s+", words.strip().lower()):
        settled, pending, counted = 0, 0, False
        tokens = [token for token in part.split() if token not in ("amby", "ambin'ny")]
        if not tokens:
            raise Invalid(f"{words!r} is not a number in Malagasy", code="not_a_number")
        for token in tokens:
            if token in _VALUES:
                pending, counted = pending + _VALUES[token], True
            elif token in POWERS:
                settled, pending, counted = settled + (pending if counted else 1) * POWERS[token], 0, False
            elif token == MILLION:
                settled, pending, counted = (settled + (pending if counted else 1)) * 1_000_000, 0, False
            else:
                raise Invalid(f"{token!r} in {words!r} is not a number word in Malagasy", code="not_a_number")
        total += settled + pending
    return total


def spell_digits(text: str, order: NumberOrder = "modern") -> str:
    """`text` with every run of digits in words; "12 000" and "12.000" are one number. Longer runs digit by digit."""

    def words(match: re.Match[str]) -> str:
        digits = re.sub(r"\D", "", match[0])
        if int(digits) > MAX_NUMBER or (len(digits) > 1 and digits[0] == "0"):
            return " ".join(UNITS[int(digit)] for digit in digits)
        return number_words(int(digits), order)

    return re.sub(r"[0-9]{1,3}(?:[ .\u00a0\u202f][0-9]{3})+(?![0-9])|[0-9]+", words, text)


VOWELS = frozenset({"a", "e", "i", "o", "u", "aI", "aU", "eI"})
_DIPHTHONGS = frozenset({"aI", "aU", "eI"})

# Longest spelling first. o is /u/, y is /i/, j is /dz/, ng and nk have a velar nasal; c, q, u, w, x are foreign.
_SPELLINGS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("tr", ("t", "s.")),
    ("dr", ("d", "z.")),
    ("ts", ("ts",)),
    ("ng", ("N", "g")),
    ("nk", ("N", "k")),
    ("ch", ("S",)),
    ("sh", ("S",)),
    ("ao", ("aU",)),
    ("ai", ("aI",)),
    ("ay", ("aI",)),
    ("ei", ("eI",)),
    ("ey", ("eI",)),
    ("j", ("dz",)),
    ("o", ("u",)),
    ("ô", ("o",)),
    ("y", ("i",)),
    ("c", ("k",)),
    ("q", ("k",)),
    ("x", ("k", "s")),
    *((letter, (letter,)) for letter in "abdefghiklmnprstuvwz"),
)
_STRESS = {"tompoko": 0, "azafady": 2, "misaotra": 1, "madagasikara": 3}
"""Which vowel is stressed (from 0), where the rules below are wrong."""
_FALLBACKS = {
    "aI": "a|i",
    "aU": "a|u",
    "eI": "e|i",
    "ts": "t|s",
    "dz": "d|z",
    "s.": "S",
    "z.": "Z",
    "S": "s",
    "Z": "z",
    "N": "n",
    "w": "u",
    "z": "s",
    "h": "x",
}
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")


def sounds(word: str) -> tuple[list[str], int]:
    """The sounds of one word as eSpeak mnemonics, and the index of the stressed one (-1: the word has no vowel)."""
    letters = unicodedata.normalize("NFC", word.lower().translate(APOSTROPHES))
    found: list[str] = []
    position = 0
    while position < len(letters):
        for spelling, mnemonics in _SPELLINGS:
            if letters.startswith(spelling, position):
                found += mnemonics
                position += len(spelling)
                break
        else:
            plain = unicodedata.normalize("NFD", letters[position])[0]
            if plain != letters[position]:
                letters = letters[:position] + plain + letters[position + 1 :]
            elif letters[position] == "'":
                position += 1
            else:
                position += 1
    return found, _stressed(letters, found)


def _stressed(letters: str, found: list[str]) -> int:
    nuclei = [index for index, sound in enumerate(found) if sound in VOWELS]
    if not nuclei:
        return -1
    if letters in _STRESS:
        return nuclei[_STRESS[letters]]
    if len(nuclei) == 1 or found[-1] in _DIPHTHONGS or found[-1] == "e":
        return nuclei[-1]
    if letters.endswith(("ka", "tra", "na")) and len(nuclei) > 2 and found[nuclei[-2]] not in _DIPHTHONGS:
        return nuclei[-3]
    return nuclei[-2]


def _mnemonic(sound: str, known: Collection[str] | None) -> str:
    while known is not None and sound not in known and sound in _FALLBACKS:
        sound = _FALLBACKS[sound]
        if "|" in sound:
            return "|".join(_mnemonic(part, known) for part in sound.split("|"))
    return sound


def word_phonemes(word: str, known: Collection[str] | None = None) -> str:
    """One word in eSpeak's phoneme mnemonics, "efatra" -> "'e|f|a|t|s.|a". Empty for a word without letters we know.

    `known`: the mnemonics of the voice's phoneme table; a sound that is not in it is replaced by its nearest.
    """
    found, stressed = sounds(word)
    return "|".join(("'" if i == stressed else "") + _mnemonic(sound, known) for i, sound in enumerate(found))


def phonemes(text: str, known: Collection[str] | None = None) -> str:
    """`text` as eSpeak input in phoneme mode: `[[...]]` for each clause, with its punctuation. Digits are spelled out.

    Empty when nothing in `text` can be said.
    """
    clauses = []
    for clause in re.split(r"(?<=[,;:.!?])", spell_digits(text.translate(APOSTROPHES))):
        words = [spoken for word in _WORD.findall(clause) if (spoken := word_phonemes(word, known))]
        if words:
            mark = clause.rstrip()[-1]
            clauses.append(f"[[{' '.join(words)}]]{mark if mark in ',;:.!?' else ''}")
    return " ".join(clauses)
