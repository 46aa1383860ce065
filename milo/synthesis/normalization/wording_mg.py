"""How Malagasy says numbers, dates, amounts, units and signs. Months, signs and school terms as in
https://mg.wikipedia.org and https://tenymalagasy.org."""

from __future__ import annotations

from milo.language.malagasy import MAX_NUMBER, UNITS, NumberOrder, number_words
from milo.synthesis.normalization.wording import Money, Wording

MONTHS = ("Janoary Febroary Martsa Aprily Mey Jona Jolay Aogositra Septambra Oktobra Novambra Desambra").split()
_OTHER_MONTHS = {
    "janvier": 1,
    "février": 2,
    "fevrier": 2,
    "mars": 3,
    "avril": 4,
    "mai": 5,
    "juin": 6,
    "juillet": 7,
    "août": 8,
    "aout": 8,
    "septembre": 9,
    "octobre": 10,
    "novembre": 11,
    "décembre": 12,
    "decembre": 12,
    "jan": 1,
    "janv": 1,
    "feb": 2,
    "febr": 2,
    "apr": 4,
    "aog": 8,
    "aogo": 8,
    "aogositra": 8,
    "sept": 9,
    "okt": 10,
    "nov": 11,
    "des": 12,
    "septembra": 9,
    "desembra": 12,
    "novembra": 11,
}


def number(n: int, order: NumberOrder = "modern") -> str:
    """0 <= n < 10^18 in words: thousands of millions as "lavitrisa"."""
    if n > MAX_NUMBER:
        high, low = divmod(n, 10**9)
        parts = [f"{number(high)} lavitrisa"] + ([number(low, order)] if low else [])
        return " ".join(parts) if order == "modern" else " sy ".join(reversed(parts))
    return number_words(n, order)


def ordinal(n: int, order: NumberOrder = "modern", feminine: bool = False) -> str:
    """fahatelo, fahefatra, fahiraika ambin'ny folo; the first is voalohany."""
    if n == 1:
        return "voalohany"
    words = number(n, order)
    return f"fah{words}" if words[0] in "aei" else f"faha{words}"


def clock(hours: int, minutes: int, seconds: int, order: NumberOrder) -> str:
    parts = [f"{number(hours, order)} ora"]
    parts += [f"{number(minutes, order)} minitra"] if minutes or seconds else []
    parts += [f"{number(seconds, order)} segondra"] if seconds else []
    return " sy ".join(parts)


def _same(words: str) -> tuple[str, str]:
    return words, words


_UNITS = {
    "km/h": "kilometatra isan'ora",
    "m/s": "metatra isan-tsegondra",
    "km2": "kilometatra toradroa",
    "m2": "metatra toradroa",
    "cm2": "santimetatra toradroa",
    "m3": "metatra toratelo",
    "cm3": "santimetatra toratelo",
    "km": "kilometatra",
    "hm": "hektometatra",
    "dm": "desimetatra",
    "cm": "santimetatra",
    "mm": "milimetatra",
    "μm": "mikrometatra",
    "m": "metatra",
    "kg": "kilao",
    "Kg": "kilao",
    "KG": "kilao",
    "mg": "miligrama",
    "μg": "mikrograma",
    "g": "grama",
    "gr": "grama",
    "t": "taonina",
    "l": "litatra",
    "L": "litatra",
    "cl": "santilitatra",
    "cL": "santilitatra",
    "dl": "desilitatra",
    "ml": "mililitatra",
    "mL": "mililitatra",
    "ha": "hektara",
    "h": "ora",
    "j": "andro",
    "min": "minitra",
    "mn": "minitra",
    "s": "segondra",
    "sec": "segondra",
    "ms": "milisegondra",
    "°C": "degre selsiosy",
    "° C": "degre selsiosy",
    "°F": "degre farenaity",
    "°": "degre",
    "kWh": "kilaoaty ora",
    "kW": "kilaoaty",
    "MW": "megaoaty",
    "W": "oaty",
    "V": "volta",
    "Hz": "hertza",
    "kHz": "kilaohertza",
    "MHz": "megahertza",
    "GHz": "gigahertza",
    "Ko": "kilaooktety",
    "KB": "kilaooktety",
    "Mo": "megaoktety",
    "MB": "megaoktety",
    "Go": "gigaoktety",
    "GB": "gigaoktety",
    "To": "teraoktety",
    "Mb/s": "megabita isan-tsegondra",
    "kcal": "kilaokaloria",
    "hPa": "hektopaskala",
}

_BOOKS = (
    "Genesisy Eksodosy Levitikosy Nomery Deoteronomia Josoa Mpitsara Rota Samoela Mpanjaka Tantara Ezra Nehemia Estera "
    "Joba Salamo Ohabolana Mpitoriteny Isaia Jeremia Ezekiela Daniela Hosea Joela Amosa Jona Mika Habakoka Zakaria "
    "Malakia Matio Marka Lioka Jaona Romana Korintiana Galatiana Efesiana Filipiana Kolosiana Tesaloniana "
    "Timoty Titosy Hebreo Jakoba Petera Joda Apokalypsy"
).split()

MG = Wording(
    language="mg",
    groups=".",
    number=number,
    year=number,
    ordinal=ordinal,
    ordinals=(r"\b[Ff]aha[- ]?(\d{1,15})\b", r"\b(\d{1,12})(?:ers?|i?[eè]mes?|e|è|[eè]re)\b"),
    clock=clock,
    digits=UNITS,
    point="faingo",
    dot="teboka",
    slash="tsipika",
    minus="miiba",
    minus_sign="analana",
    plus="ampiana",
    to="hatramin'ny",
    out_of="amin'ny",
    per="isaky ny",
    percent="isan-jato",
    per_mille="isan'arivo",
    number_sign="laharana",
    million=_same("tapitrisa"),
    billion=_same("lavitrisa"),
    thousand="arivo",
    day=lambda n, order: "voalohany" if n == 1 else number(n, order),
    months=MONTHS,
    month_names={name.lower(): n for n, name in enumerate(MONTHS, 1)} | _OTHER_MONTHS,
    fractions={
        (1, 2): "antsasany",
        (1, 3): "ampahatelony",
        (2, 3): "roa ampahatelony",
        (1, 4): "ampahefany",
        (3, 4): "telo ampahefany",
        (1, 5): "ampahadiminy",
        (1, 8): "ampahavalony",
        (1, 10): "ampahafolony",
    },
    money={
        "MGA": Money("ariary", "ariary"),
        "EUR": Money("eoro", "eoro", "santima"),
        "USD": Money("dolara", "dolara", "santima"),
        "GBP": Money("livra", "livra", "penisy"),
        "JPY": Money("yen", "yen"),
    },
    units={written: _same(said) for written, said in _UNITS.items()},
    feminine=frozenset(),
    signs={
        "&": "sy",
        "+": "ampiana",
        "=": "mitovy amin'ny",
        "@": "amin'ny",
        "#": "diezy",
        "%": "isan-jato",
        "‰": "isan'arivo",
        "°": "degre",
        "×": "ampitomboina amin'ny",
        "÷": "zaraina amin'ny",
        "±": "ampiana na analana",
        "<": "latsaka noho ny",
        ">": "ambony noho ny",
        "≤": "latsaka na mitovy amin'ny",
        "≥": "ambony na mitovy amin'ny",
        "≠": "tsy mitovy amin'ny",
        "≈": "eo amin'ny",
        "√": "fakan'ny",
        "∞": "tsy misy fetra",
        "§": "andalana",
        "€": "eoro",
        "$": "dolara",
        "£": "livra",
        "¥": "yen",
        "/": "na",
    },
    abbreviations=(
        (r"\b(?:sy ny )?(?:sns|etc|s\.n\.s)\.(?=\s+[A-Z]|\s*$)", "sy ny sisa."),
        (r"\b(?:sy ny )?(?:sns|etc|s\.n\.s)\b\.?", "sy ny sisa"),
        (r"\b(?:ohat|oh)\.", "ohatra"),
        (r"\b[Jj]er\.", "jereo"),
        (r"\b(?:Atoa|A/toa|A\.toa)\b\.?", "Andriamatoa"),
        (r"\b(?:Rtoa|R/toa|R\.toa|Mme)\b\.?", "Ramatoa"),
        (r"\b(?:Mlle|Melle)\b\.?", "Ramatoakely"),
        (r"\bM(?:r\b\.?|\.)(?=\s+[A-Z])", "Andriamatoa"),
        (r"\b(?:Dr|Dok)\b\.?(?=\s+[A-Z])", "Dokotera"),
        (r"\b(?:Pr|Prof)\b\.?(?=\s+[A-Z])", "Profesora"),
        (r"\bIng\.", "Injeniera"),
        (r"\bIng\b(?=\s+[A-Z])", "Injeniera"),
        (r"\bJly\b\.?(?=\s+[A-Z])", "Jeneraly"),
        (r"\bKol\.(?=\s+[A-Z])", "Kolonely"),
        (r"\bMd\b\.?(?=\s+[A-Z])", "Masindahy"),
        (r"\bMb\b\.?(?=\s+[A-Z])", "Masimbavy"),
        (r"\bPast\.(?=\s+[A-Z])", "Pastora"),
        (r"\b[Tt][eé]l\s?[.:]", "telefaonina:"),
        (r"\b[Ff]in\.(?=\s?\d)", "finday"),
        (r"\b[Pp](?:ej|\.)\s?(?=\d)", "pejy "),
        (r"\b[Tt]ok\.\s?(?=\d)", "toko "),
        (r"\b[Aa]nd\.\s?(?=\d)", "andininy "),
        (r"\b[Aa]ndr\.(?=\s)", "andro"),
        (r"\b[Tt]al\.\s?J\.?\s?K\.?(?!\w)", "talohan'i Jesoa Kristy"),
        (r"\b[Tt]aor\.\s?J\.?\s?K\.?(?!\w)", "taorian'i Jesoa Kristy"),
        (r"\bi\.h\.", "izany hoe"),
        (r"\bAr\b\.?", "ariary"),
        (r"\bMGA\b", "ariary"),
        (r"\b[Ff]mg\b", "faranka malagasy"),
        (r"(?<=\d) ?Mr?ds?\b", " lavitrisa"),
    ),
    letters=dict(
        zip(
            "abcdefghijklmnopqrstuvwxyz",
            ("a,be,se,de,e,efa,ge,hasy,i,ji,ka,ela,ema,ena,o,pe,ko,era,esa,te,io,ve,dobla ve,iksa,igreka,zeta").split(
                ","
            ),
            strict=True,
        )
    ),
    single=frozenset("aeioy"),
    regnal=lambda n, order: ordinal(n, order),
    numeral=lambda n, order: ordinal(n, order),
    power="hery",
    syllables=r"(?:(?:[BDFGHJKLMNPRSTVZ]|DR|TR|TS|MB|MP|ND|NT|NG|NK)?[AEIOY]{1,2})+",
    decimals_as_number=True,
    extra=(
        (
            rf"\b((?:{'|'.join(_BOOKS)}|Asan'ny Apostoly)) (\d{{1,3}})\s?[:,]\s?(\d{{1,3}})(?![\d:])",
            r"\1 toko \2 andininy \3",
        ),
        (r"(?<!\S)@ ?ny\b", "amin'ny"),
        (r"(?<!\S)@(?=[aeio]\w)", "amin'"),
        (r"(?<!\S)@(?=\w)", "arobazy "),
    ),
)
