"""What fills the slots of the parallel phrasebook, and the little grammar that French and English need.

Agreement, contraction (à + le = au), elision, tense and number for the words of
`trainer.tiny.corpus.parallel_lexicon`, and
nothing beyond them. Numbers in words: `milo.language.malagasy` and num2words.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from num2words import num2words

from milo.language.malagasy import UNITS as DIGITS
from milo.language.malagasy import number_words
from trainer.tiny.corpus import lexicon, phrasebook
from trainer.tiny.corpus import parallel_lexicon as words

DIGIT_SHARE = 0.25
"""Share of numbers that are written in figures; a model has to copy those."""
_ENDINGS = ("ai", "a", "ons", "ez", "ont")
_HAVE = ("ai", "a", "avons", "avez", "ont")
_BE = ("suis", "est", "sommes", "êtes", "sont")
_FR_DIGITS = "zéro un deux trois quatre cinq six sept huit neuf".split()
_EN_DIGITS = "zero one two three four five six seven eight nine".split()
_CITIES = "Paris Lyon Marseille Nantes Bordeaux Lille Strasbourg Rennes London Dublin Boston Chicago".split()
_FIRST_NAMES = "Marie Pierre Julie Paul Claire Thomas Sophie Luc Anne Hugo Mary Peter Alice John Emma David".split()


@dataclass(frozen=True)
class Value:
    """One word or number. `data` is what its kind needs: fields of the lexicon, or (digits, figures or words)."""

    kind: str
    mg: str
    data: Any = None
    other: str = ""
    """Another way to say it, as the speech corpus does: a number with its units first."""

    @property
    def tag(self) -> str:
        """m, f, mp or fp."""
        if self.kind in ("name", "city"):
            return "f" if self.mg in words.WOMEN else "m"
        if self.kind == "pronoun":
            return "mp" if self.data[0] in (2, 4) else "m"
        return str(self.data[0])

    @property
    def person(self) -> int:
        """0 je, 1 il, 2 nous, 3 vous, 4 ils."""
        if self.kind == "pronoun":
            return int(self.data[0])
        return 4 if self.tag.endswith("p") else 1


_TABLES = {
    "good": words.GOODS,
    "spot": words.SPOTS,
    "unit": words.UNITS,
    "person": words.PERSONS,
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


def _number(kind: str, rng: random.Random) -> Value:
    if kind in _RANGES:
        n = rng.randint(*_RANGES[kind])
    elif kind == "price":
        n = rng.randint(1, 999) * rng.choice((10, 50, 100, 1000))
    else:
        n = phrasebook.random_number(rng, 9 if kind == "big" else 6)
    if rng.random() < DIGIT_SHARE:
        figures = f"{n:,}".replace(",", " ") if n > 9999 and rng.random() < 0.5 else str(n)
        return Value(kind, figures, (n, figures), figures)
    other = number_words(n, rng.choice(("modern", "traditional")))
    link = rng.choice(("amby", "ambin'ny"))
    return Value(kind, number_words(n), (n, ""), other.replace("ambin'ny folo", f"{link} folo"))


def _new_name(rng: random.Random) -> str:
    """A name nobody has, of Malagasy or any other spelling."""
    if rng.random() < 0.7:
        return phrasebook.pseudo_word(rng).capitalize()
    letters = "bcdfghjklmnprstvwxz", "aeiouy"
    return "".join(rng.choice(letters[i % 2]) for i in range(rng.randint(3, 9))).capitalize()


def draw(kind: str, rng: random.Random, new_names: float) -> Value:
    """A value for a slot of this kind."""
    if kind in ("name", "city"):
        known, foreign = (lexicon.NAMES, _FIRST_NAMES) if kind == "name" else (lexicon.CITIES, _CITIES)
        if rng.random() < new_names:
            return Value(kind, _new_name(rng))
        return Value(kind, rng.choice(foreign if rng.random() < 0.15 else known))
    if kind == "phone":
        numbers = [rng.randrange(10) for _ in range(rng.randint(4, 8))]
        if rng.random() < DIGIT_SHARE:
            figures = "".join(map(str, numbers))
            return Value(kind, figures, (0, figures), figures)
        spoken = " ".join(DIGITS[n] for n in numbers)
        return Value(kind, spoken, (numbers, ""), spoken)
    if kind not in _TABLES:
        return _number(kind, rng)
    table: dict[str, Any] = _TABLES[kind]
    word = rng.choice([w for w in table if w != "anio"])
    return Value(kind, word, table[word], "anio" if word == "androany" and rng.random() < 0.5 else "")


def tense_of(when: Value | None) -> int:
    """0 present, 1 past, 2 future."""
    return int(when.data[2]) if when else 0


def elide(text: str) -> str:
    """`de~Antsirabe` -> `d'Antsirabe`, `de~riz` -> `de riz`. No h is silent here except in hôpital and huile."""
    text = re.sub(r"(\w)[ea]~(?=[aeiouyâàéèêîôœ]|h[ôu](?!it))", r"\1'", text, flags=re.IGNORECASE)
    return text.replace("d'onz", "de onz").replace("~", " ")


# --- Malagasy ---


def _mg(value: Value, form: str, others: list[Value], tense: int, spoken: bool) -> str:
    if value.kind in ("act", "move"):
        return (value.mg, value.data[0], value.data[1])[tense]
    said = value.other if spoken and value.other else value.mg
    if value.kind == "hour":
        return said if spoken and not value.data[1] else f"{said} ora"
    return said


# --- French ---


def _fr_adjective(quality: Value, tag: str, noun: str = "") -> str:
    if noun and quality.mg == "vaovao" and tag == "m" and re.match("[aeiouéœ]|hô", noun):
        return "nouvel"
    return str(quality.data[("m", "f", "mp", "fp").index(tag)])


def _fr_noun(value: Value, form: str, quality: Value | None) -> str:
    """A noun with its article: definite, du (de + definite, or partitive), de, a (à + definite), un, bare, many."""
    tag, noun = value.tag, value.data[1]
    if form == "many":
        return str(value.data[2])
    before = quality is not None and quality.mg in words.BEFORE_THE_NOUN
    if quality is not None:
        adjective = _fr_adjective(quality, tag, noun)
        noun = f"{adjective} {noun}" if before else f"{noun} {adjective}"
    if form == "bare":
        return noun
    if form == "un":
        return f"{'une' if tag == 'f' else 'un'} {noun}"
    if form == "de" or (form == "du" and before and tag.endswith("p")):
        return elide(f"de~{noun}")
    if tag.endswith("p"):
        return {"": "les ", "du": "des ", "a": "aux "}[form] + noun
    if re.match(r"[aeiouéèœ]|h[ôu]", noun):
        return {"": "l'", "du": "de l'", "a": "à l'"}[form] + noun
    articles = {"f": {"": "la ", "du": "de la ", "a": "à la "}, "m": {"": "le ", "du": "du ", "a": "au "}}
    return articles[tag][form] + noun


def _fr_verb(verb: Value, subject: Value, tense: int, negative: bool) -> str:
    mg, data, person = verb.mg, verb.data, subject.person
    particle = data[9]
    finite, rest = data[2 + person], particle
    if tense == 1:
        etre = mg in words.WITH_ETRE
        agreement = {"m": "", "f": "e", "mp": "s", "fp": "es"}[subject.tag] if etre else ""
        finite, rest = (_BE if etre else _HAVE)[person], f"{data[7]}{agreement} {particle}".strip()
    elif tense == 2:
        finite = data[8] + _ENDINGS[person]
    return " ".join(filter(None, [f"ne~{finite} pas" if negative else finite, rest]))


def _fr_clause(verb: Value, form: str, others: list[Value], tense: int) -> str:
    """A verb with the subject it agrees with, and its object or place if there is one."""
    said = _fr_verb(verb, others[0], tense, form == "not")
    if len(others) == 1:
        return said
    thing, quality = others[1], others[2] if len(others) > 2 else None
    if form == "a":
        away = verb.mg == "miainga"
        if thing.kind == "city":
            return f"{said} {'de~' if away else 'à '}{thing.mg}"
        return f"{said} {_fr_noun(thing, 'du' if away else 'a', None)}"
    bare = form == "not" or verb.mg == "mila"
    return f"{said} {_fr_noun(thing, 'de' if bare else 'du', quality)}"


def _fr_number(value: Value, form: str, others: list[Value]) -> str:
    n, figures = value.data
    if value.kind == "phone":
        return figures or " ".join(_FR_DIGITS[d] for d in n)
    feminine = form == "f" or value.kind == "hour" or (others and others[0].tag.startswith("f"))
    said = figures or num2words(n, lang="fr")
    if feminine and not figures and n % 10 == 1 and n % 100 not in (11, 71, 91):
        said += "e"
    return f"{said} heure{'s' * (n > 1)}" if value.kind == "hour" else said


def _fr(value: Value, form: str, others: list[Value], tense: int, spoken: bool) -> str:
    kind = value.kind
    if kind in ("act", "move"):
        return _fr_clause(value, form, others, tense)
    if kind == "unit":
        if others:
            return str(value.data[2])
        return _fr_noun(value, form, None)
    if kind in ("good", "spot", "person"):
        return _fr_noun(value, form, others[0] if others else None)
    if kind == "quality":
        return _fr_adjective(value, others[0].tag if others else "m")
    if kind == "pronoun":
        return str(value.data[1])
    if kind in ("day", "month", "part", "when"):
        return str(value.data[1 if form == "bare" else 0])
    return value.mg if kind in ("name", "city") else _fr_number(value, form, others)


# --- English ---


def _en_noun(value: Value, form: str, quality: Value | None) -> str:
    many = value.kind in ("spot", "unit") and form == "many"
    noun = value.data[(4 if many else 3) if value.kind in ("spot", "unit") else 2]
    if quality is not None:
        noun = f"{quality.data[4]} {noun}"
    if form == "a":
        return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
    return noun if form in ("bare", "many") else f"the {noun}"


def _en_clause(verb: Value, form: str, others: list[Value], tense: int) -> str:
    third, base, past = verb.data[10], verb.data[11], verb.data[12]
    if form == "base":
        return str(base)
    subject = others[0]
    simple = third if subject.person == 1 else base
    said = (simple, past, f"will {base}")[tense]
    if form == "not":
        said = (f"{'does' if subject.person == 1 else 'do'} not {base}", f"did not {base}", f"will not {base}")[tense]
    if len(others) == 1:
        return str(said)
    thing, quality = others[1], others[2] if len(others) > 2 else None
    if form == "a":
        default = "in" if thing.kind == "city" else "at"
        return f"{said} {words.ENGLISH_PLACE.get(verb.mg, default)} {_en(thing, '', [], tense, False)}"
    return f"{said} {_en_noun(thing, 'bare', quality)}"


def _en_number(value: Value) -> str:
    n, figures = value.data
    if value.kind == "phone":
        return figures or " ".join(_EN_DIGITS[d] for d in n)
    if figures:
        return str(figures)
    said = num2words(n, lang="en", to="ordinal" if value.kind == "date" else "cardinal")
    return str(said).replace(",", "")


def _en(value: Value, form: str, others: list[Value], tense: int, spoken: bool) -> str:
    kind = value.kind
    if kind in ("act", "move"):
        return _en_clause(value, form, others, tense)
    if kind == "unit":
        return _en_noun(value, "many" if others else form, None)
    if kind in ("good", "spot", "person"):
        return _en_noun(value, form, others[0] if others else None)
    if kind == "quality":
        return str(value.data[4])
    if kind == "pronoun":
        return str(value.data[2])
    if kind in ("day", "month", "when"):
        return str(value.data[1])
    if kind == "part":
        return str(value.data[3 if form == "bare" else 2])
    if kind in ("name", "city"):
        return value.mg
    said = _en_number(value)
    return f"{said} o'clock" if kind == "hour" and form != "bare" else said


# --- all three ---

_SAY: dict[str, Callable[[Value, str, list[Value], int, bool], str]] = {"mg": _mg, "fr": _fr, "en": _en}
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


def _fixed(word: str, other: Value, language: str) -> str:
    """A word of a pattern, made to agree with a value. French counts zero in the singular."""
    if word == "s":
        return "" if _is_one(other) or (language == "fr" and other.data[0] == 0) else "s"
    if word in ("are", "people"):
        one, many = {"are": ("is", "are"), "people": ("person", "people")}[word]
        return one if _is_one(other) else many
    if word in ("arrivé", "né"):
        return word + ("e" if other.tag == "f" else "")
    if word in words.QUALITIES:
        return _fr_adjective(Value("quality", word, words.QUALITIES[word]), other.tag)
    return _AGREEING[word][other.tag.endswith("p")]


def _is_one(number: Value) -> bool:
    return bool(number.data[0] == 1)


def render(pattern: str, language: str, values: dict[str, Value], tense: int, *, spoken: bool = False) -> str:
    """`pattern` with its slots filled, in one language; the notation is that of `parallel_patterns`."""

    def fill(match: re.Match[str]) -> str:
        name, form, subject, objects = match[1], match[2] or "", match[3], match[4] or ""
        others = [values[other] for other in ([subject] if subject else []) + objects.split("+")[1:]]
        if name not in values:
            return _fixed(name, others[0], language)
        return _SAY[language](values[name], form, others, tense, spoken)

    return elide(re.sub(r"\{(\w+)(?:\.(\w+))?(?:@(\w+))?((?:\+\w+)*)\}", fill, pattern))
