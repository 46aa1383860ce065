"""Sentences of the parallel phrasebook out of their patterns, in three languages.

In a pattern (`tables/patterns.tsv`) `{slot}` is a word, `{slot.form}` one of its forms, `@other` makes it agree with
another slot, `+other` takes an object or an adjective in; `[a|b|c]` is present, past or future, whichever the sentence
is in (a fourth one is what the speech phrasebook has, which knows no tenses); `~` is where French elides
(de~Antsirabe -> d'Antsirabe).
"""

from __future__ import annotations

import re

from trainer.corpus import words
from trainer.corpus.english import english
from trainer.corpus.french import elide, french
from trainer.corpus.slots import Value
from trainer.corpus.words import Number, Tense, Verb

_AGREEING = {
    "est": ("est", "sont"),
    "coûte": ("coûte", "coûtent"),
    "vend": ("vend", "vendent"),
    "appelle": ("appelle", "appellent"),
    "is": ("is", "are"),
    "was": ("was", "were"),
    "costs": ("costs", "cost"),
    "sells": ("sells", "sell"),
}
"""Words of the patterns that agree with a noun in number."""


def render(pattern: str, language: str, values: dict[str, Value], tense: Tense, *, spoken: bool = False) -> str:
    """`pattern` with its slots filled, in one language. spoken: as the speech corpus has it, Malagasy only."""

    def fill(match: re.Match[str]) -> str:
        name, form, subject, objects = match[1], match[2] or "", match[3], match[4] or ""
        others = [values[other] for other in ([subject] if subject else []) + objects.split("+")[1:]]
        if name not in values:
            return _agreeing_word(name, others[0], language)
        if language == "mg":
            return _malagasy(values[name], tense, spoken)
        return (french if language == "fr" else english)(values[name], form, others, tense)

    return elide(re.sub(r"\{(\w+)(?:\.(\w+))?(?:@(\w+))?((?:\+\w+)*)\}", fill, pattern))


def _malagasy(value: Value, tense: Tense, spoken: bool) -> str:
    if isinstance(value.entry, Verb):
        return value.entry.malagasy(tense)
    text = value.spoken if spoken and value.spoken else value.entry.mg
    if isinstance(value.entry, Number) and value.kind == "hour":
        return text if spoken and not value.entry.figures else f"{text} ora"
    return text


def _agreeing_word(word: str, other: Value, language: str) -> str:
    """A word of a pattern, made to agree with a value. French counts zero in the singular."""
    if isinstance(other.entry, Number):
        one = other.entry.n == 1
        if word == "s":
            return "" if one or (language == "fr" and other.entry.n == 0) else "s"
        singular, plural = {"are": ("is", "are"), "people": ("person", "people")}[word]
        return singular if one else plural
    gender = other.subject.gender
    if word in ("arrivé", "né"):
        return word + ("e" if gender == "f" else "")
    if word in words.QUALITIES:
        return words.QUALITIES[word].french(gender)
    return _AGREEING[word][gender.endswith("p")]
