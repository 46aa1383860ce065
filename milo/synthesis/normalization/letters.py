"""Which characters a language is written with, and what the others become. Nothing that says something is dropped."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection

_ASCII = "abcdefghijklmnopqrstuvwxyz"
_LETTERS = {
    "mg": _ASCII + "àâäçéèêëîïñôöùûü",
    "fr": _ASCII + "àâäæçéèêëîïñôöœùûüÿ",
    "en": _ASCII,
}
PUNCTUATION = ".,;:!?'-"
ALPHABETS = {
    language: frozenset(letters + letters.upper() + PUNCTUATION + " \n") for language, letters in _LETTERS.items()
}
"""Every character that `milo.synthesis.normalization.normalize` may return in a language."""

_NEAREST = {
    "c": "k",
    "q": "k",
    "x": "ks",
    "w": "o",
    "u": "o",
    "y": "i",
    "i": "y",
    "k": "c",
    "ô": "o",
    "ñ": "n",
    "ü": "u",
    "ö": "o",
    "œ": "oe",
    "æ": "ae",
    "ç": "s",
    "ß": "ss",
    "é": "e",
}
"""A letter that an alphabet lacks, in letters that sound like it in Malagasy (o is /u/)."""
_SOFT = frozenset("eiyéèêëîï")


def can_be_spoken(text: str) -> bool:
    """Whether anything in `text` can be said: a letter or a digit."""
    return any(char.isalnum() for char in text)


def transliterate(text: str, alphabet: Collection[str]) -> str:
    """`text` with every letter outside `alphabet` in Latin letters (Cyrillic, Greek, CJK, …).

    Digits stay, other signs become spaces. Source of the transliteration: https://github.com/anyascii/anyascii
    """
    return "".join(char if char in alphabet or char in "0123456789" else _latin(char, alphabet) for char in text)


def _latin(char: str, alphabet: Collection[str]) -> str:
    from anyascii import anyascii

    category = unicodedata.category(char)
    if category[0] == "M":
        return ""
    if category[0] not in "LN":
        return " "
    base = unicodedata.normalize("NFD", char)[0]
    if base != char and base in alphabet:
        return base
    latin = "".join(c for c in anyascii(char) if c in alphabet or c.isdigit())
    wide = unicodedata.east_asian_width(char) in "WF"
    return f"{latin.lower()} " if wide and len(latin) > 1 else latin


def fit(text: str, alphabet: Collection[str]) -> str:
    """`text` in the characters that a model knows: lower case where it must be, the nearest sounds, plain letters.

    Punctuation that the model does not know becomes a space; runs of spaces become one.
    """
    known = frozenset(char for char in alphabet if len(char) == 1)
    out = []
    for index, char in enumerate(text):
        following = text[index + 1 : index + 2].lower()
        out.append(_fit_letter(char, following, known))
    kept = "".join(c for c in "".join(out) if c in known or c.isspace())
    return (" " if " " in known else "").join(kept.split())


def _fit_letter(char: str, following: str, letters: frozenset[str]) -> str:
    for same in (char, char.lower(), char.upper()):
        if same in letters:
            return same
    lower = char.lower()
    if not lower.isalpha():
        return "" if char == "'" else " "
    nearest = "s" if lower == "c" and following and following in _SOFT | {"h"} else _NEAREST.get(lower, "")
    base = unicodedata.normalize("NFD", lower)[0]
    latin = base if base != lower else _latin(lower, ALPHABETS["en"])
    for candidate in (base if base != lower else "", nearest, latin):
        if candidate and all(c in letters for c in candidate):
            return candidate
    return "".join(c if c in letters else _NEAREST.get(c, "") for c in nearest or latin if c != lower and c.isalpha())
