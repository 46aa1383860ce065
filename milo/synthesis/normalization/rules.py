"""Numbers, dates, times, amounts, units, signs and abbreviations in words: one language's rules, in their order.

Each rule is a regular expression and what is said for it. What a rule says holds no digit, so that no later rule
changes it. The order matters: a date before a fraction, a telephone number before thousands.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from milo.language.malagasy import NumberOrder
from milo.synthesis.normalization import numerals, quantities
from milo.synthesis.normalization.wording import Wording, spell

Match = re.Match[str]
Rules = list[tuple[str, Callable[[Match], str]]]
Rule = tuple[re.Pattern[str], Callable[[Match], str]]

_DOMAINS = "com|org|net|mg|fr|io|gov|edu|info|eu|co|uk|dev|app|ai|re|yt|ch|be|ca|de|int|tv|me"
_CODES = "261|33|262|269|44|41|32|49|1|39|34|86|91|27|230|248|258"
"""Country codes after which a +number is a telephone number, however it is grouped."""


def verbalise(text: str, wording: Wording, order: NumberOrder = "modern") -> str:
    """`text` (plain) with every figure, sign and abbreviation in words of `wording`."""
    for pattern, said in _rules(wording, order):
        text = pattern.sub(said, text)
    return text


@lru_cache(maxsize=16)
def _rules(w: Wording, order: NumberOrder) -> tuple[Rule, ...]:
    groups = (
        _addresses,
        quantities.powers,
        _dates,
        _telephones,
        _ranges,
        _times,
        quantities.amounts,
        quantities.measures,
        numerals.ordinals,
        _abbreviations,
        quantities.sums,
        _names,
    )
    found: list[Rule] = [(re.compile(pattern), _template(said)) for pattern, said in w.extra]
    for group in groups:
        found += [(re.compile(pattern), said) for pattern, said in group(w, order)]
    return tuple(found)


def _template(said: str) -> Callable[[Match], str]:
    return lambda m: m.expand(said)


def _addresses(w: Wording, order: NumberOrder) -> Rules:
    """E-mail addresses and URLs: the host and a short path; queries are not read."""

    def address(text: str) -> str:
        text = re.sub(r"[._-]*$", "", text)
        text = text.replace("@", f" {at} ").replace(".", f" {w.dot} ").replace("/", f" {w.slash} ")
        return re.sub(r"[_~%+-]+", " ", text)

    at = {"mg": "arobazy"}.get(w.language, w.signs["@"])

    def url(m: Match) -> str:
        host, path = m[1], (m[2] or "").split("?")[0].split("#")[0].rstrip("/.,;:!)")
        end = re.search(r"[.,;:!?)]*$", m[0])
        readable = path if len(path) <= 40 and not re.search(r"\d{5}|%", path) else ""
        return f" {address(host + readable)}{end[0] if end else ''} "

    host = r"(?:[a-zA-Z0-9-]{1,63}\.){1,6}"
    return [
        (r"\bmailto:", lambda m: ""),
        (r"[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,6}[a-zA-Z]{2,10}\b", lambda m: f" {address(m[0])} "),
        (r"\b(?:https?|ftp)://(?:www\.)?([^\s/?#]{1,255})([/?#]\S{0,2000})?", url),
        (r"\bwww\.([^\s/?#]{1,255})([/?#]\S{0,2000})?", url),
        (rf"(?<![\w.@-])({host}(?:{_DOMAINS}))\b(?![.-]?\w)(/\S{{0,2000}})?", url),
    ]


def _dates(w: Wording, order: NumberOrder) -> Rules:
    """ISO, day/month/year (month/day/year where it can't be otherwise), and the first of a month."""

    def say(day: int, month: int, year: str) -> str:
        name, number = w.months[month - 1], w.day(day, order)
        said = f"{name} {number}" if w.language == "en" else f"{number} {name}"
        return f"{said} {w.year(_full_year(year), order)}" if year else said

    def iso(m: Match) -> str:
        if not _is_date(int(m[4]), int(m[3])):
            return m[0]
        return f"{say(int(m[4]), int(m[3]), m[1])} {m[5] or ''}".rstrip()

    def slashed(m: Match) -> str:
        day, month = int(m[1]), int(m[3])
        if not _is_date(day, month) and _is_date(month, day):
            day, month = month, day
        return say(day, month, m[4]) if _is_date(day, month) else m[0]

    def month_of(m: Match) -> str:
        return f"{w.months[int(m[1]) - 1]} {w.year(int(m[2]), order)}"

    names = "|".join(sorted(map(re.escape, {*w.month_names, *(n.lower() for n in w.months)}), key=len, reverse=True))

    def named(m: Match) -> str:
        if not 1 <= int(m[1]) <= 31:
            return m[0]
        month = w.month_names[m[2].lower()]
        name = m[2] if m[2].lower() == w.months[month - 1].lower() else w.months[month - 1]
        return f"{w.day(int(m[1]), order)} {name}" + (f" {w.year(int(m[3]), order)}" if m[3] else "")

    def month_first(m: Match) -> str:
        said = say(int(m[2]), w.month_names[m[1].lower()], m[3] or "") if 1 <= int(m[2]) <= 31 else m[0]
        return said

    english: Rules = [
        (rf"(?i)\b({names})\.? (\d{{1,2}})(?:st|nd|rd|th)?\b(?:,? (\d{{4}})\b)?(?![.:]\d)", month_first),
        (
            r"(?i)\b((?:in|since|until|from|by|year) )(1[1-9]\d\d|20\d\d)\b(?![.,:/-]\d)",
            lambda m: m[1] + w.year(int(m[2]), order),
        ),
    ]
    return [
        (r"(?<![\d/-])(\d{4})([-/])(\d{2})\2(\d{2})(?:[T ](\d{2}:\d{2})(?::\d{2}(?:\.\d+)?)?Z?)?(?![\d/-])", iso),
        (r"(?<![\d/.-])(\d{1,2})([/.-])(\d{1,2})\2(\d{4}|\d{2})(?![\d/]|[.-]\d)", slashed),
        (r"(?<![\d/.,°º#-])(?<![°º.] )(0?[1-9]|1[0-2])/((?:19|20)\d\d)(?![\d/]|[.,-]\d)", month_of),
        (r"(?<![\d/.,-])(\d{1,2})(/)(0\d)()(?![\d/]|[.,-]\d)", slashed),
        (r"(?<![\d/.,-])(0\d)(/)(1[0-2])()(?![\d/]|[.,-]\d)", slashed),
        (rf"(?i)(?<![\d/.,])(\d{{1,2}})(?:er|st|nd|rd|th)? ({names})\b\.?(?! *[({{])(?: (\d{{4}})\b)?", named),
        *(english if w.language == "en" else []),
    ]


def _is_date(day: int, month: int) -> bool:
    return 1 <= day <= 31 and 1 <= month <= 12


def _full_year(year: str) -> int:
    return int(year) if len(year) == 4 else int(year) + (2000 if int(year) < 50 else 1900)


def _ranges(w: Wording, order: NumberOrder) -> Rules:
    """5-10, 8h-12h, 2020–2024; more than two parts, or a leading zero, are a code and not a range."""
    return [
        (r"(?<=\d)'(?=\d{3}(?!\d))|(?<=\d)['\"]+(?![a-z])", lambda m: " "),
        (r"(?<![\w-])\d{1,18}(?:-\d{1,18}){2,20}(?![\w-])", lambda m: m[0].replace("-", " , ")),
        (r"(?<=\d)-(?=0\d+(?![\d:hH]))", lambda m: ", "),
        (r"(?<=\d) [-–—] (?=\d)(?![^\n]*=)", lambda m: f" {w.to} "),
        (r"(?<=\d) ?[×xX*] ?(?=\d)", lambda m: f" {w.signs['×']} "),
        (r"(?<=\d)(?:-| ?[–—] ?)(?=\d)|(?<=\d[hH%])(?:-| ?[–—] ?)(?=\d)", lambda m: f" {w.to} "),
        (r"(?<=[^\W\d_])-(?=\d)", lambda m: " "),
        (r"(?<=\d) (?=\d{1,3}⁄\d)", lambda m: f" {w.signs['&']} "),
    ]


def _times(w: Wording, order: NumberOrder) -> Rules:
    def say(m: Match) -> str:
        return w.clock(int(m[1]), int(m[2] or 0), int(m[3] or 0), order)

    def half_day(m: Match) -> str:
        return w.clock(int(m[1]) % 12 + (12 if m[3] in "pP" else 0), int(m[2] or 0), 0, order)

    def always(m: Match) -> str:
        unit = w.units.get(m[2].lower(), (m[2], m[2]))[1]
        return f"{w.number(int(m[1]), order)} {unit} {w.out_of} {w.number(int(m[3]), order)}"

    hour = r"(?<![\d:.,])([01]?\d|2[0-4])"
    english = r"(?<![\d:.,])(1[0-2]|[1-9]|0[1-9])(?:[:.]([0-5]\d))? ?([aApP])(?:\.[mM]\.|[mM]\b)"
    return [
        *([] if w.language == "en" else [(english, half_day)]),
        (r"(?<![\w.,/])(\d{1,2}) ?([hHjJ]) ?/ ?(\d{1,2})(?![\w/])", always),
        (rf"{hour} ?[hH] ?([0-5]\d)(?: ?(?:min|mn|m)(?![a-z]))?(?: ?([0-5]\d) ?s\b)?(?![\d\w])", say),
        (rf"{hour} ?[hH]()()(?!\w)", say),
        (rf"{hour}:([0-5]\d)(?::([0-5]\d))?(?![\d:])", say),
    ]


def _telephones(w: Wording, order: NumberOrder) -> Rules:
    """Digit by digit, a breath between the groups. No quantity begins with 0, and + with a country code is a call."""

    def say(m: Match) -> str:
        if not 8 <= len(re.sub(r"\D", "", m[0])) <= 15:
            return m[0]
        groups = [spell(group, w) for group in re.findall(r"\d+", m[0])]
        return (f"{w.plus} " if m[0].startswith("+") else "") + ", ".join(groups)

    return [
        (rf"(?<![\w+])\+(?:{_CODES})(?:[ .\-]?\(?\d{{1,9}}\)?){{2,6}}(?!\w)", say),
        (r"(?<![\w.,+-])(?<!\d )0\d{1,9}(?:[ .\-]\d{2,4}){1,5}(?![\w]|[.,]\d)", say),
        (r"(?<![\w.,+-])\(0\d{1,3}\)(?:[ .\-]?\d{2,4}){2,5}(?![\w]|[.,]\d)", say),
        (r"(?<![\w.,])(?<!\d )0\d{7,14}(?![\w]|[.,]\d)", say),
    ]


def _abbreviations(w: Wording, order: NumberOrder) -> Rules:
    rules: Rules = [(pattern, _template(said)) for pattern, said in w.abbreviations]

    def initials(m: Match) -> str:
        return f"{spell(re.sub(r'[. ]', '', m[0]), w)} "

    return [
        *rules,
        (r"(?:\b[NnLl][°º]\.? ?|\b[Nn]o\. ?|\bNo |#)(?=\d)", lambda m: f"{w.number_sign} "),
        (r"(?<![\w.'])(?:[A-Z]\. ?){1,5}(?=[A-Z][a-zà-ÿ])", initials),
        (r"(?<![\w.'])(?:[A-Z]\.){2,8}", lambda m: spell(m[0].replace(".", ""), w)),
    ]


def _names(w: Wording, order: NumberOrder) -> Rules:
    """Acronyms and single letters by their names, and signs in words."""

    def acronym(m: Match) -> str:
        word = m[0]
        spelled = not re.search(r"[AEIOUYÀÂÉÈÊÎÔÛ]", word)
        if w.syllables and len(word) <= 3 or re.search(r"[^AEIOUY]{4}", word):
            spelled = spelled or not w.syllables or not re.fullmatch(w.syllables, word)
        return spell(word, w) if spelled else word

    def letter(m: Match) -> str:
        return w.letters.get(m[0].lower(), m[0]) if m[0].lower() not in w.single else m[0]

    signs = "".join(re.escape(sign) for sign in w.signs if sign not in "/#")
    return [
        (r"(?<![\w'-])[A-ZÀ-Ý]{2,6}(?![\w'])", acronym),
        (r"(?<!\w)(?<!\w')[A-Zb-df-hj-np-tv-xz](?!\w|'\w)", letter),
        (r"#(?=\w)", lambda m: f"{w.signs['#']} "),
        (r"(?<=\w) ?/ ?(?=\w)", lambda m: f" {w.signs['/']} "),
        (rf"[{signs}]+", lambda m: f" {w.signs[m[0][0]]} "),
    ]
