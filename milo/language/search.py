"""Words as a search compares them: without case and accents, and Malagasy verbs without their tense.

Malagasy marks the tense of a verb by its first letter: manoratra (writes), nanoratra (wrote), hanoratra (will write).
Each such word of a Malagasy text is also indexed without that letter, so any of the three finds all. It is a rule of
spelling and knows no dictionary: `mamy` finds `namy` too. Passives and the root (soratana, soratra) are other words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from milo.errors import Invalid

MAX_QUERY = 200
MAX_WORDS = 16
SHORTEST_PREFIX = 3
"""A word of fewer letters is looked for as it is: half of all words begin with an `a`."""
_WORD = re.compile(r"[^\W_](?:[^\W_]|[\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u064b-\u0652])*")
_TENSE = re.compile(r"[mnh]([aeio].{2,})")
RESERVED = "mnh"
"""Stands before a verb without its tense, and before what else the index holds: no word of a language begins so."""


@dataclass(frozen=True)
class Term:
    """One thing that a passage must hold."""

    words: tuple[str, ...]
    """Folded; more than one are a phrase."""
    prefix: bool
    """The word may go on."""
    without_tense: str | None = None
    """What Malagasy passages may hold instead, going on too."""

    def matches(self, word: str, tense_free: str | None) -> bool:
        """Whether a word of a passage is one of those that were looked for."""
        if not self.prefix:
            return word in self.words
        return word.startswith(self.words[0]) or bool(
            self.without_tense and tense_free and tense_free.startswith(self.without_tense)
        )


def words_of(text: str) -> Iterator[tuple[str, int, int]]:
    """Each word folded, and where it stands in the text: from, to, in Unicode characters."""
    for found in _WORD.finditer(text):
        if folded := fold(found[0]):
            yield folded, found.start(), found.end()


def fold(word: str) -> str:
    """Without case, accents and other marks: `Tôlagnaro` is `tolagnaro`."""
    plain = unicodedata.normalize("NFKD", word.casefold())
    return "".join(character for character in plain if character.isalnum())


def without_tense(word: str) -> str | None:
    """A folded word of Malagasy without the letter of its tense, as it is indexed; None for what is no such word."""
    found = _TENSE.fullmatch(word)
    return f"{RESERVED}{found[1]}" if found else None


def indexed(text: str, language: str) -> str:
    """What the index holds of a text: its words, then those of Malagasy without their tense."""
    words = [word for word, _, _ in words_of(text)]
    tenses = [free for word in words if (free := without_tense(word))] if language == "mg" else []
    return " ".join((*words, *tenses))


def parse(query: str) -> list[Term]:
    """Words that must all be there, as beginnings of words; a "phrase in quotes" as it is. `Invalid` for no words."""
    terms: list[Term] = []
    for at, part in enumerate(query[:MAX_QUERY].replace("“", '"').replace("”", '"').replace("«", '"').split('"')):
        words = tuple(word for word, _, _ in words_of(part))
        if at % 2 and words:
            terms.append(Term(words, prefix=False))
            continue
        for word in words:
            long = len(word) >= SHORTEST_PREFIX
            terms.append(Term((word,), prefix=long, without_tense=without_tense(word) if long else None))
    if not terms:
        detail = "the query holds no word to look for"
        raise Invalid(detail, code="empty_query", errors=[{"detail": detail, "parameter": "q"}])
    if sum(len(term.words) for term in terms) > MAX_WORDS:
        detail = f"the query has more than {MAX_WORDS} words"
        raise Invalid(detail, code="long_query", errors=[{"detail": detail, "parameter": "q"}])
    return terms


def highlights(text: str, language: str, terms: list[Term]) -> list[tuple[int, int]]:
    """Where the words that were looked for stand in a passage."""
    found: list[tuple[int, int]] = []
    for word, start, end in words_of(text):
        free = without_tense(word) if language == "mg" else None
        if any(term.matches(word, free) for term in terms):
            found.append((start, end))
    return found
