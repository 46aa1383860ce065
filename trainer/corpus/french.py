"""The little French grammar of the parallel phrasebook: agreement, contraction (à + le = au), elision, tense, number.

For the words of `trainer.corpus.words`, and nothing beyond them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from num2words import num2words

from trainer.corpus.slots import Value
from trainer.corpus.words import (
    PERSONS,
    Adjective,
    DayPart,
    Label,
    Name,
    Noun,
    Number,
    PhoneNumber,
    Pronoun,
    Subject,
    Tense,
    Verb,
    When,
)

_FUTURE_ENDINGS = dict(zip(PERSONS, ("ai", "a", "ons", "ez", "ont"), strict=True))
_AUXILIARIES = {
    "avoir": dict(zip(PERSONS, ("ai", "a", "avons", "avez", "ont"), strict=True)),
    "être": dict(zip(PERSONS, ("suis", "est", "sommes", "êtes", "sont"), strict=True)),
}
_DIGITS = "zéro un deux trois quatre cinq six sept huit neuf".split()


def elide(text: str) -> str:
    """`de~Antsirabe` -> `d'Antsirabe`, `de~riz` -> `de riz`. No h is silent here except in hôpital and huile."""
    text = re.sub(r"(\w)[ea]~(?=[aeiouyâàéèêîôœ]|h[ôu](?!it))", r"\1'", text, flags=re.IGNORECASE)
    return text.replace("d'onz", "de onz").replace("~", " ")


def french(value: Value, form: str, others: Sequence[Value], tense: Tense) -> str:
    """One slot. `others`: what it agrees with, then its object and adjective; see `trainer.corpus.rendering`."""
    match value.entry:
        case Verb():
            return _clause(value.entry, form, others, tense)
        case Noun():
            if value.kind == "unit" and others:
                return value.entry.fr_plural
            return _noun(value.entry, form, _adjective_of(others[:1]))
        case Adjective():
            return value.entry.french(others[0].subject.gender if others else "m")
        case DayPart():
            return value.entry.fr_bare if form == "bare" else value.entry.fr
        case Pronoun() | Label() | When():
            return value.entry.fr
        case PhoneNumber():
            return value.entry.figures or " ".join(_DIGITS[digit] for digit in value.entry.digits)
        case Number():
            counted = others[0].subject.gender if others else ""
            hour = value.kind == "hour"
            text = _number(value.entry, feminine=form == "f" or hour or counted.startswith("f"))
            return f"{text} heure{'s' * (value.entry.n > 1)}" if hour else text
        case Name():
            return value.entry.mg


def _adjective_of(others: Sequence[Value]) -> Adjective | None:
    entry = others[0].entry if others else None
    return entry if isinstance(entry, Adjective) else None


def _noun(noun: Noun, form: str, adjective: Adjective | None) -> str:
    """A noun with its article: definite, du (de + definite, or partitive), de, a (à + definite), un, bare, many."""
    if form == "many":
        return noun.fr_plural
    text, gender = noun.fr, noun.gender
    before = adjective is not None and adjective.before_noun == "yes"
    if adjective is not None:
        word = adjective.french(gender)
        if adjective.mg == "vaovao" and gender == "m" and re.match("[aeiouéœ]|hô", text):
            word = "nouvel"
        text = f"{word} {text}" if before else f"{text} {word}"
    if form == "bare":
        return text
    if form == "un":
        return f"{'une' if gender == 'f' else 'un'} {text}"
    if form == "de" or (form == "du" and before and gender.endswith("p")):
        return elide(f"de~{text}")
    if gender.endswith("p"):
        return {"": "les ", "du": "des ", "a": "aux "}[form] + text
    if re.match(r"[aeiouéèœ]|h[ôu]", text):
        return {"": "l'", "du": "de l'", "a": "à l'"}[form] + text
    articles = {"f": {"": "la ", "du": "de la ", "a": "à la "}, "m": {"": "le ", "du": "du ", "a": "au "}}
    return articles[gender][form] + text


def _verb(verb: Verb, subject: Subject, tense: Tense, negative: bool) -> str:
    finite, rest = verb.french_present(subject.person), verb.particle
    if tense == "past":
        agreement = {"m": "", "f": "e", "mp": "s", "fp": "es"}[subject.gender] if verb.auxiliary == "être" else ""
        finite = _AUXILIARIES[verb.auxiliary][subject.person]
        rest = f"{verb.participle}{agreement} {verb.particle}".strip()
    elif tense == "future":
        finite = verb.future_stem + _FUTURE_ENDINGS[subject.person]
    return " ".join(filter(None, [f"ne~{finite} pas" if negative else finite, rest]))


def _clause(verb: Verb, form: str, others: Sequence[Value], tense: Tense) -> str:
    """A verb with the subject it agrees with, and its object or place if there is one."""
    text = _verb(verb, others[0].subject, tense, form == "not")
    if len(others) == 1:
        return text
    complement = others[1].entry
    if form == "a":
        away = verb.mg == "miainga"
        if isinstance(complement, Noun):
            return f"{text} {_noun(complement, 'du' if away else 'a', None)}"
        return f"{text} {'de~' if away else 'à '}{complement.mg}"
    assert isinstance(complement, Noun)
    bare = form == "not" or verb.mg == "mila"
    return f"{text} {_noun(complement, 'de' if bare else 'du', _adjective_of(others[2:]))}"


def _number(number: Number, *, feminine: bool) -> str:
    if number.figures:
        return number.figures
    text = str(num2words(number.n, lang="fr"))
    return text + "e" if feminine and number.n % 10 == 1 and number.n % 100 not in (11, 71, 91) else text
