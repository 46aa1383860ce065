"""The rules of quantities: amounts of money, measures, ordinals, fractions, sums and plain numbers."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from milo.language.malagasy import NumberOrder
from milo.synthesis.normalization.figures import NUMBER, Figure, in_words, read, roman
from milo.synthesis.normalization.wording import Money, Wording

Match = re.Match[str]
Rules = list[tuple[str, Callable[[Match], str]]]

CURRENCIES = {
    r"Ariary|ariary|ARIARY|Ar|AR|ar|MGA": "MGA",
    r"€|EUR|euros?|Euros?": "EUR",
    r"US\$|\$US|USD|\$": "USD",
    r"£|GBP": "GBP",
    r"¥|JPY": "JPY",
}


SIGN = r"(?<![\w.,])(?<!\d )([-+])?"
"""Where a quantity may begin, and its sign."""


def _signed(sign: str | None, w: Wording) -> str:
    return {"-": f"{w.minus} ", "+": f"{w.plus} "}.get(sign or "", "")


def amounts(w: Wording, order: NumberOrder) -> Rules:
    codes = "|".join(f"(?:{pattern})" for pattern in CURRENCIES)
    scales = "k|K|M|B|bn|Mds?|Mrds?|tapitrisa|lavitrisa|millions?|milliards?|billions?"
    scale = rf"(?: ?({scales})(?:(?!\w)|(?={codes})))?"
    per = r"(?: ?/ ?([A-Za-zμ°]{1,9}[23]?)(?!\w))?"

    def amount(sign: str, number: str, scaled: str | None, code: str, unit: str | None) -> str:
        return _signed(sign, w) + unsigned(number, scaled, code, unit)

    def unsigned(number: str, scaled: str | None, code: str, unit: str | None) -> str:
        money, figure = w.money[code], read(number, w, money=True)
        figure = replace(figure, grouped=True)
        suffix = f" {w.per} {_unit_one(unit, w)}" if unit else ""
        if scaled:
            counted = money.many if scaled in ("k", "K") else _of(money.many, w)
            return f"{in_words(figure, w, order)} {_scale(scaled, figure, w)} {counted}{suffix}"
        if money.cents and len(figure.decimals) == 2 and not figure.decimals.startswith("00"):
            whole = Figure(figure.whole, grouped=figure.grouped)
            return f"{_count(whole, code, (money.one, money.many), w, order)} {_cents(figure, money, w, order)}{suffix}"
        figure = Figure(figure.whole, figure.decimals.rstrip("0"), figure.grouped)
        return _count(figure, code, (money.one, money.many), w, order) + suffix

    def after(m: Match) -> str:
        return amount(m[1], m[2], m[3], _code(m[4]), m[5])

    def before(m: Match) -> str:
        return amount(m[1] or m[3], m[4], m[5], _code(m[2]), m[6])

    return [
        (rf"{SIGN}({NUMBER}){scale} ?({codes})(?![\w$€]){per}", after),
        (rf"(?<![\w])([-+])?({codes})\.? ?([-+])?({NUMBER}){scale}(?!\w){per}", before),
    ]


def _code(written: str) -> str:
    return next(code for pattern, code in CURRENCIES.items() if re.fullmatch(pattern, written))


def _cents(figure: Figure, money: Money, w: Wording, order: NumberOrder) -> str:
    cents = int(figure.decimals)
    name = money.cents
    if w.language == "mg":
        return f"sy {w.number(cents, order)} {name}"
    joiner = "and " if w.language == "en" else ""
    plural = {"penny": "pence"}.get(name, f"{name}s") if cents > 1 else name
    return f"{joiner}{w.number(cents, order)} {plural}"


def _scale(written: str, figure: Figure, w: Wording) -> str:
    if written in ("k", "K"):
        return w.thousand
    pair = w.million if re.fullmatch(r"M|millions?|tapitrisa", written) else w.billion
    return pair[1] if figure.plural else pair[0]


def _of(counted: str, w: Wording) -> str:
    """What "deux millions" are of."""
    if w.of.endswith("e") and counted[0] in "aeiouéèh":
        return f"{w.of[:-1]}'{counted}"
    return f"{w.of} {counted}".strip()


def _count(figure: Figure, key: str, names: tuple[str, str], w: Wording, order: NumberOrder) -> str:
    words = in_words(figure, w, order)
    if key in w.feminine and not figure.decimals:
        words = re.sub(r"\bun$", "une", words)
    several = not figure.one if w.language == "en" else figure.plural
    name = names[1] if several else names[0]
    million = not figure.decimals and words.endswith((*w.million, *w.billion))
    return f"{words} {_of(name, w) if million else name}"


def _unit_one(unit: str, w: Wording) -> str:
    return w.units[unit][0] if unit in w.units else unit


def measures(w: Wording, order: NumberOrder) -> Rules:
    units = "|".join(sorted(map(re.escape, w.units), key=len, reverse=True))

    def measure(m: Match) -> str:
        said = _signed(m[1], w) + _count(read(m[2], w), m[3], w.units[m[3]], w, order)
        return f"{said} {w.per} {_unit_one(m[4], w)}" if m[4] else said

    def part(m: Match) -> str:
        said, unit = w.fractions.get((int(m[1]), int(m[2]))), w.units[m[3]][0]
        return f"{said} {unit if m[2] == '2' else _of(unit, w)}" if said else m[0]

    def percent(m: Match) -> str:
        return f"{_signed(m[1], w)}{in_words(read(m[2], w), w, order)} {w.percent if m[3] == '%' else w.per_mille}"

    def height(m: Match) -> str:
        metres, rest = (
            _count(Figure(str(int(m[n]))), unit, w.units[unit], w, order) for n, unit in ((1, "m"), (2, "cm"))
        )
        return f"{metres} {w.signs['&']} {rest}" if w.language == "mg" else f"{metres} {rest}"

    return [
        (rf"{SIGN}({NUMBER}) ?([%‰])", percent),
        (r"(?<![\w.,])(\d{1,2})m(\d{2})(?:cm)?(?!\w)", height),
        (rf"(?<![\w/.,])(\d)[/⁄](\d{{1,2}}) ?({units})(?![\w/°]|'\w)", part),
        (rf"{SIGN}({NUMBER}) ?({units})(?:/({units}))?(?![\w/°]|'\w)", measure),
    ]


def ordinals(w: Wording, order: NumberOrder) -> Rules:
    def say(m: Match) -> str:
        return w.ordinal(int(m[1]), order, "f" in m.re.groupindex)

    def century(m: Match) -> str:
        return w.ordinal(roman(m[1]), order, False) if roman(m[1]) else m[0]

    def regnal(m: Match) -> str:
        return w.regnal(roman(m[1]), order) if roman(m[1]) else m[0]

    suffix = {"mg": "(?:e|è|ème|eme)", "fr": "(?:e|è|ème|eme|er|re|ère)s?", "en": "(?:st|nd|rd|th)"}[w.language]
    rules: Rules = [(pattern, say) for pattern in w.ordinals]
    if w.language == "mg":
        rules.append((r"\b[Ff]aha[- ]?([IVXL]{1,7})\b", century))
    return [
        *rules,
        (rf"\b([IVX]{{1,6}}){suffix}\b", century),
        (r"(?<=[a-zé] )(?<!\bny )([IVX]{2,6})\b(?![.'-]\w)", regnal),
        (r"(?<=\bRadama )(I)\b|(?<=\bRanavalona )(I)\b", lambda m: w.regnal(1, order)),
    ]


def sums(w: Wording, order: NumberOrder) -> Rules:
    """What is left of figures: versions, fractions, ranges, arithmetic, and plain numbers."""

    def version(m: Match) -> str:
        joined = f" {w.dot} " if "." in m[0] else ", "
        return joined.join(in_words(Figure(part), w, order) for part in re.split(r"[.,]", m[0]))

    def fraction(m: Match) -> str:
        top, bottom = int(m[1]), int(m[2])
        if m[0].find("⁄") < 0 or (top, bottom) not in w.fractions:
            out_of = f" {w.out_of} ".join(in_words(Figure(part), w, order) for part in (m[1], m[2]))
            return w.fractions.get((top, bottom), out_of) if len(m[1]) == 1 else out_of
        return w.fractions[top, bottom]

    def plain(m: Match) -> str:
        return f"{_signed(m[1], w)}{in_words(read(m[2], w), w, order)}"

    grouped = r"(?!\d{1,3}(?:\.\d{3})+(?![\d.])|\d{1,3}(?:,\d{3})+(?![\d,]))"
    return [
        (r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])", lambda m: " "),
        (rf"(?<![\d.,]){grouped}\d{{1,18}}(?:\.\d{{1,18}}){{2,}}(?!\d)", version),
        (rf"(?<![\d.,]){grouped}\d{{1,18}}(?:,\d{{1,18}}){{2,}}(?!\d)", version),
        (r"(?<![\d/.,])(\d{1,6}) ?[/⁄] ?(\d{1,6})(?![\d/]|[.,]\d)", fraction),
        (r"(?<=\d) - (?=\d)", lambda m: f" {w.minus_sign} "),
        (rf"(?:(?<![\w.,)])([-+]))?({NUMBER})", plain),
    ]
