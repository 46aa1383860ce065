"""The rules of quantities: amounts of money, measures, ordinals, fractions, sums and plain numbers."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from milo.language.malagasy import NumberOrder
from milo.synthesis.normalization.figures import NUMBER, Figure, in_words, read
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


def _units(w: Wording) -> str:
    return "|".join(sorted(map(re.escape, w.units), key=len, reverse=True))


def powers(w: Wording, order: NumberOrder) -> Rules:
    """5e-3, 6,02E23, 10^-3, each with the unit that follows."""
    unit = rf"(?: ?({_units(w)})(?:/({_units(w)}))?(?![\w/°]|'\w))?"

    def with_unit(said: str, one: str | None, per: str | None) -> str:
        said += f" {w.units[one][1]}" if one else ""
        return said + (f" {w.per} {_unit_one(per, w)}" if per else "")

    def ten(exponent: str) -> str:
        sign, digits = re.fullmatch(r"([-+]?)(\d+)", exponent).groups()  # type: ignore[union-attr]
        negative = f"{w.minus} " if sign == "-" else ""
        return f"{w.power} {negative}{w.number(int(digits), order)}"

    def scientific(m: Match) -> str:
        mantissa = in_words(read(m[2], w), w, order)
        base = f"{w.signs['×']} {w.number(10, order)} {ten(m[3])}"
        return with_unit(f"{_signed(m[1], w)}{mantissa} {base}", m[4], m[5])

    def raised(m: Match) -> str:
        return with_unit(f"{_signed(m[1], w)}{in_words(read(m[2], w), w, order)} {ten(m[3])}", m[4], m[5])

    return [
        (rf"{SIGN}({NUMBER})[eE]([-+]?\d{{1,3}}){unit}(?![\w.,]\w|\w)", scientific),
        (rf"{SIGN}({NUMBER}) ?\^ ?\(?([-+]?\d{{1,6}})\)?{unit}(?!\w)", raised),
    ]


def measures(w: Wording, order: NumberOrder) -> Rules:
    units = _units(w)

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
