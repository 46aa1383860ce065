"""How French says numbers (https://pypi.org/project/num2words), dates, amounts, units and signs."""

from __future__ import annotations

import re

from milo.language.malagasy import NumberOrder
from milo.synthesis.normalization.wording import Money, Wording
from milo.synthesis.normalization.wording_mg import MG

MONTHS = ("janvier février mars avril mai juin juillet août septembre octobre novembre décembre").split()


def number(n: int, order: NumberOrder = "modern") -> str:
    """0 <= n < 10^18 in words."""
    from num2words import num2words

    return str(num2words(n, lang="fr"))


def ordinal(n: int, order: NumberOrder = "modern", feminine: bool = False) -> str:
    from num2words import num2words

    if n == 1 and feminine:
        return "première"
    return str(num2words(n, lang="fr", to="ordinal"))


def feminine(words: str) -> str:
    """vingt et un -> vingt et une."""
    return re.sub(r"\bun$", "une", words)


def clock(hours: int, minutes: int, seconds: int, order: NumberOrder) -> str:
    parts = [f"{feminine(number(hours))} heure{'s' if hours > 1 else ''}"]
    if minutes or seconds:
        named = f" minute{'s' if minutes > 1 else ''}" if seconds else ""
        parts.append(f"{feminine(number(minutes))}{named}")
    if seconds:
        parts.append(f"{feminine(number(seconds))} seconde{'s' if seconds > 1 else ''}")
    return " ".join(parts)


def regnal(n: int, order: NumberOrder = "modern") -> str:
    return "premier" if n == 1 else number(n)


def _units(written: dict[str, str]) -> dict[str, tuple[str, str]]:
    """`a|b` are singular and plural; else the first word takes an s."""
    pairs = {}
    for name, said in written.items():
        one, _, many = said.partition("|")
        first, _, rest = one.partition(" ")
        pairs[name] = (one, many or f"{first}s {rest}".strip())
    return pairs


_UNITS = {
    "km/h": "kilomètre heure|kilomètres heure",
    "m/s": "mètre par seconde",
    "km2": "kilomètre carré|kilomètres carrés",
    "m2": "mètre carré|mètres carrés",
    "cm2": "centimètre carré|centimètres carrés",
    "m3": "mètre cube|mètres cubes",
    "cm3": "centimètre cube|centimètres cubes",
    "km": "kilomètre",
    "dm": "décimètre",
    "cm": "centimètre",
    "mm": "millimètre",
    "μm": "micromètre",
    "m": "mètre",
    "kg": "kilo",
    "Kg": "kilo",
    "mg": "milligramme",
    "μg": "microgramme",
    "g": "gramme",
    "gr": "gramme",
    "t": "tonne",
    "l": "litre",
    "L": "litre",
    "cl": "centilitre",
    "dl": "décilitre",
    "ml": "millilitre",
    "mL": "millilitre",
    "ha": "hectare",
    "h": "heure",
    "j": "jour",
    "min": "minute",
    "mn": "minute",
    "s": "seconde",
    "sec": "seconde",
    "ms": "milliseconde",
    "°C": "degré Celsius|degrés Celsius",
    "° C": "degré Celsius|degrés Celsius",
    "°F": "degré Fahrenheit|degrés Fahrenheit",
    "°": "degré",
    "kWh": "kilowatt heure|kilowatt heures",
    "kW": "kilowatt",
    "MW": "mégawatt",
    "W": "watt",
    "V": "volt",
    "Hz": "hertz|hertz",
    "kHz": "kilohertz|kilohertz",
    "MHz": "mégahertz|mégahertz",
    "GHz": "gigahertz|gigahertz",
    "Ko": "kilo-octet",
    "Mo": "méga-octet",
    "Go": "giga-octet",
    "To": "téra-octet",
    "Mb/s": "mégabit par seconde",
    "kcal": "kilocalorie",
    "hPa": "hectopascal",
}

FR = Wording(
    language="fr",
    groups=".",
    number=number,
    year=number,
    ordinal=ordinal,
    ordinals=(r"\b(\d{1,12})(?:ers?|i?[eè]mes?|es?|è|nds?)\b", r"\b(?P<f>\d{1,12})(?:[eè]res?|res?|ndes?)\b"),
    clock=clock,
    digits="zéro un deux trois quatre cinq six sept huit neuf".split(),
    point="virgule",
    dot="point",
    slash="slash",
    minus="moins",
    minus_sign="moins",
    plus="plus",
    to="à",
    out_of="sur",
    per="par",
    percent="pour cent",
    per_mille="pour mille",
    number_sign="numéro",
    million=("million", "millions"),
    billion=("milliard", "milliards"),
    thousand="mille",
    of="de",
    day=lambda n, order: "premier" if n == 1 else number(n),
    months=MONTHS,
    month_names={name: n for n, name in enumerate(MONTHS, 1)}
    | dict(MG.month_names)
    | {"déc": 12, "févr": 2, "juil": 7},
    fractions={
        (1, 2): "un demi",
        (1, 3): "un tiers",
        (2, 3): "deux tiers",
        (1, 4): "un quart",
        (3, 4): "trois quarts",
        (1, 5): "un cinquième",
        (1, 8): "un huitième",
        (1, 10): "un dixième",
    },
    money={
        "MGA": Money("ariary", "ariary"),
        "EUR": Money("euro", "euros", "centime"),
        "USD": Money("dollar", "dollars", "cent"),
        "GBP": Money("livre", "livres", "penny"),
        "JPY": Money("yen", "yens"),
    },
    units=_units(_UNITS),
    feminine=frozenset({"t", "h", "min", "mn", "s", "sec", "ms", "kcal", "GBP"}),
    signs={
        "&": "et",
        "+": "plus",
        "=": "égale",
        "@": "arobase",
        "#": "dièse",
        "%": "pour cent",
        "‰": "pour mille",
        "°": "degré",
        "×": "fois",
        "÷": "divisé par",
        "±": "plus ou moins",
        "<": "inférieur à",
        ">": "supérieur à",
        "≤": "inférieur ou égal à",
        "≥": "supérieur ou égal à",
        "≠": "différent de",
        "≈": "environ",
        "√": "racine de",
        "∞": "infini",
        "§": "paragraphe",
        "€": "euro",
        "$": "dollar",
        "£": "livre",
        "¥": "yen",
        "/": "ou",
    },
    abbreviations=(
        (r"\b[Ee]tc\.(?=\s+[A-ZÀ-Ý]|\s*$)", "et cetera."),
        (r"\b[Ee]tc\b\.?(?:\.\.)?", "et cetera"),
        (r"\b[Pp]\.\s?ex\.", "par exemple"),
        (r"\bc\.?-?à-?d\b\.?", "c'est-à-dire"),
        (r"\bMM\.(?=\s+[A-Z])", "Messieurs"),
        (r"\bM(?:r\b\.?|\.)(?=\s+[A-Z])", "Monsieur"),
        (r"\bMmes\b\.?", "Mesdames"),
        (r"\bMme\b\.?", "Madame"),
        (r"\bMlles?\b\.?", "Mademoiselle"),
        (r"\bDr\b\.?(?=\s+[A-Z])", "Docteur"),
        (r"\bPr\b\.?(?=\s+[A-Z])", "Professeur"),
        (r"\bMe\b(?=\s+[A-Z])", "Maître"),
        (r"\bIng\.", "Ingénieur"),
        (r"\bSt(?=[- ][A-Z])", "Saint"),
        (r"\bSte(?=[- ][A-Z])", "Sainte"),
        (r"\b[Tt][eé]l\s?[.:]", "téléphone:"),
        (r"\b[Pp]\.\s?(?=\d)", "page "),
        (r"\b[Aa]v\.\s?J\.-?\s?C\b\.?", "avant Jésus-Christ"),
        (r"\b[Aa]p\.\s?J\.-?\s?C\b\.?", "après Jésus-Christ"),
        (r"\bAr\b\.?", "ariary"),
        (r"\b[Ff]mg\b", "francs malgaches"),
        (r"(?<=\d) ?Mr?ds?\b", " milliards"),
    ),
    letters=dict(
        zip(
            "abcdefghijklmnopqrstuvwxyz",
            (
                "a,bé,cé,dé,e,effe,gé,hache,i,ji,ka,elle,emme,enne,o,pé,cu,erre,esse,té,u,vé,double vé,ixe,i grec,zède"
            ).split(","),
            strict=True,
        )
    ),
    single=frozenset("aoyàôâ"),
    regnal=regnal,
    numeral=number,
    power="puissance",
    decimals_as_number=True,
)
