"""The little English grammar of the parallel phrasebook: articles, tense, number."""

from __future__ import annotations

from collections.abc import Sequence

from num2words import num2words

from trainer.corpus.slots import Value
from trainer.corpus.words import (
    Adjective,
    DayPart,
    Label,
    Name,
    Noun,
    Number,
    PhoneNumber,
    Pronoun,
    Tense,
    Verb,
    When,
)

_DIGITS = "zero one two three four five six seven eight nine".split()


def english(value: Value, form: str, others: Sequence[Value], tense: Tense) -> str:
    """One slot. `others`: what it agrees with, then its object and adjective; see `trainer.corpus.rendering`."""
    match value.entry:
        case Verb():
            return _clause(value.entry, form, others, tense)
        case Noun():
            unit = value.kind == "unit"
            return _noun(value.entry, "many" if unit and others else form, () if unit else others[:1])
        case DayPart():
            return value.entry.en_bare if form == "bare" else value.entry.en
        case Adjective() | Pronoun() | Label() | When():
            return value.entry.en
        case PhoneNumber():
            return value.entry.figures or " ".join(_DIGITS[digit] for digit in value.entry.digits)
        case Number():
            text = _number(value.entry, ordinal=value.kind == "date")
            return f"{text} o'clock" if value.kind == "hour" and form != "bare" else text
        case Name():
            return value.entry.mg


def _noun(noun: Noun, form: str, adjective: Sequence[Value]) -> str:
    """With its article: the, a, or none (bare, many)."""
    text = noun.en_plural if form == "many" else noun.en
    if adjective and isinstance(adjective[0].entry, Adjective):
        text = f"{adjective[0].entry.en} {text}"
    if form == "a":
        return f"{'an' if text[0] in 'aeiou' else 'a'} {text}"
    return text if form in ("bare", "many") else f"the {text}"


def _clause(verb: Verb, form: str, others: Sequence[Value], tense: Tense) -> str:
    """A verb that agrees with its subject, and its object or place if there is one."""
    if form == "base":
        return verb.en_base
    third = others[0].subject.person == "il"
    if form == "not":
        auxiliary = {"present": "does" if third else "do", "past": "did", "future": "will"}[tense]
        text = f"{auxiliary} not {verb.en_base}"
    else:
        present = verb.en_third if third else verb.en_base
        text = {"present": present, "past": verb.en_past, "future": f"will {verb.en_base}"}[tense]
    if len(others) == 1:
        return text
    complement = others[1]
    if form == "a":
        place = "in" if verb.en_place == "at" and complement.kind == "city" else verb.en_place
        return f"{text} {place} {english(complement, '', (), tense)}"
    assert isinstance(complement.entry, Noun)
    return f"{text} {_noun(complement.entry, 'bare', others[2:])}"


def _number(number: Number, *, ordinal: bool) -> str:
    text = number.figures or str(num2words(number.n, lang="en", to="ordinal" if ordinal else "cardinal"))
    return text if number.figures else text.replace(",", "")
