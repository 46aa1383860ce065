"""How English says numbers (https://pypi.org/project/num2words), dates, amounts, units and signs."""

from __future__ import annotations

from milo.language.malagasy import NumberOrder
from milo.synthesis.normalization.wording import Money, Wording
from milo.synthesis.normalization.wording_mg import MG

MONTHS = ("January February March April May June July August September October November December").split()


def number(n: int, order: NumberOrder = "modern") -> str:
    """0 <= n < 10^18 in words."""
    from num2words import num2words

    return str(num2words(n, lang="en")).replace(",", "")


def year(n: int, order: NumberOrder = "modern") -> str:
    from num2words import num2words

    return str(num2words(n, lang="en", to="year")) if 1000 <= n < 3000 else number(n)


def ordinal(n: int, order: NumberOrder = "modern", feminine: bool = False) -> str:
    from num2words import num2words

    return str(num2words(n, lang="en", to="ordinal")).replace(",", "")


def clock(hours: int, minutes: int, seconds: int, order: NumberOrder) -> str:
    if not minutes and not seconds:
        return f"{number(hours)} o'clock"
    said = f"{number(hours)} {'oh ' if minutes < 10 else ''}{number(minutes)}"
    return said + (f" and {number(seconds)} second{'s' if seconds > 1 else ''}" if seconds else "")


def _units(written: dict[str, str]) -> dict[str, tuple[str, str]]:
    pairs = {}
    for name, said in written.items():
        one, _, many = said.partition("|")
        first, _, rest = one.partition(" ")
        pairs[name] = (one, many or f"{first}s {rest}".strip())
    return pairs


_UNITS = {
    "km/h": "kilometer per hour",
    "mph": "mile per hour",
    "m/s": "meter per second",
    "km2": "square kilometer|square kilometers",
    "m2": "square meter|square meters",
    "m3": "cubic meter|cubic meters",
    "km": "kilometer",
    "cm": "centimeter",
    "mm": "millimeter",
    "μm": "micrometer",
    "m": "meter",
    "mi": "mile",
    "ft": "foot|feet",
    "kg": "kilogram",
    "Kg": "kilogram",
    "mg": "milligram",
    "μg": "microgram",
    "g": "gram",
    "lb": "pound",
    "lbs": "pound",
    "oz": "ounce",
    "t": "ton",
    "l": "liter",
    "L": "liter",
    "cl": "centiliter",
    "ml": "milliliter",
    "mL": "milliliter",
    "ha": "hectare",
    "h": "hour",
    "j": "day",
    "hr": "hour",
    "hrs": "hour",
    "min": "minute",
    "s": "second",
    "sec": "second",
    "ms": "millisecond",
    "°C": "degree Celsius",
    "° C": "degree Celsius",
    "°F": "degree Fahrenheit",
    "°": "degree",
    "kWh": "kilowatt hour|kilowatt hours",
    "kW": "kilowatt",
    "MW": "megawatt",
    "W": "watt",
    "V": "volt",
    "Hz": "hertz|hertz",
    "kHz": "kilohertz|kilohertz",
    "MHz": "megahertz|megahertz",
    "GHz": "gigahertz|gigahertz",
    "KB": "kilobyte",
    "MB": "megabyte",
    "GB": "gigabyte",
    "TB": "terabyte",
    "Mb/s": "megabit per second",
    "kcal": "kilocalorie",
}

EN = Wording(
    language="en",
    groups=",",
    number=number,
    year=year,
    ordinal=ordinal,
    ordinals=(r"\b(\d{1,12})(?:st|nd|rd|th)\b",),
    clock=clock,
    digits="zero one two three four five six seven eight nine".split(),
    point="point",
    dot="dot",
    slash="slash",
    minus="minus",
    minus_sign="minus",
    plus="plus",
    to="to",
    out_of="out of",
    per="per",
    percent="percent",
    per_mille="per mille",
    number_sign="number",
    million=("million", "million"),
    billion=("billion", "billion"),
    thousand="thousand",
    day=ordinal,
    months=MONTHS,
    month_names={name.lower(): n for n, name in enumerate(MONTHS, 1)} | dict(MG.month_names),
    fractions={
        (1, 2): "one half",
        (1, 3): "one third",
        (2, 3): "two thirds",
        (1, 4): "one quarter",
        (3, 4): "three quarters",
        (1, 5): "one fifth",
        (1, 8): "one eighth",
        (1, 10): "one tenth",
    },
    money={
        "MGA": Money("ariary", "ariary"),
        "EUR": Money("euro", "euros", "cent"),
        "USD": Money("dollar", "dollars", "cent"),
        "GBP": Money("pound", "pounds", "penny"),
        "JPY": Money("yen", "yen"),
    },
    units=_units(_UNITS),
    feminine=frozenset(),
    signs={
        "&": "and",
        "+": "plus",
        "=": "equals",
        "@": "at",
        "#": "hash",
        "%": "percent",
        "‰": "per mille",
        "°": "degree",
        "×": "times",
        "÷": "divided by",
        "±": "plus or minus",
        "<": "less than",
        ">": "greater than",
        "≤": "at most",
        "≥": "at least",
        "≠": "not equal to",
        "≈": "about",
        "√": "square root of",
        "∞": "infinity",
        "§": "section",
        "€": "euro",
        "$": "dollar",
        "£": "pound",
        "¥": "yen",
        "/": "or",
    },
    abbreviations=(
        (r"\b[Ee]tc\.(?=\s+[A-ZÀ-Ý]|\s*$)", "et cetera."),
        (r"\b[Ee]tc\b\.?(?:\.\.)?", "et cetera"),
        (r"\be\.g\.", "for example"),
        (r"\bi\.e\.", "that is"),
        (r"\bvs\b\.?", "versus"),
        (r"\bMr\b\.?(?=\s+[A-Z])", "Mister"),
        (r"\bMrs\b\.?(?=\s+[A-Z])", "Missis"),
        (r"\bMs\b\.?(?=\s+[A-Z])", "Miz"),
        (r"\bDr\b\.?(?=\s+[A-Z])", "Doctor"),
        (r"\bProf\b\.?(?=\s+[A-Z])", "Professor"),
        (r"\bEng\.(?=\s+[A-Z])", "Engineer"),
        (r"\bSt\b\.?(?=\s+[A-Z])", "Saint"),
        (r"\b[Pp]\.\s?(?=\d)", "page "),
        (r"\bAr\b\.?", "ariary"),
    ),
    letters=dict(
        zip(
            "abcdefghijklmnopqrstuvwxyz",
            (
                "ay,bee,cee,dee,ee,eff,gee,aitch,eye,jay,kay,ell,em,en,oh,pee,cue,ar,ess,tee,you,vee,double you,ex,"
                "why,zee"
            ).split(","),
            strict=True,
        )
    ),
    single=frozenset("aio"),
    regnal=lambda n, order: f"the {ordinal(n)}",
    numeral=number,
    power="to the power of",
    extra=((r"(?<=\d)\s?[Aa]\.?[Mm]\b\.?", " A.M."), (r"(?<=\d)\s?[Pp]\.?[Mm]\b\.?", " P.M.")),
)
