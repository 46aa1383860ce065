"""Ordinals and Roman numerals: "2nd", "XXe", Radama II, World War II."""

from __future__ import annotations

from milo.language.malagasy import NumberOrder
from milo.synthesis.normalization.figures import roman
from milo.synthesis.normalization.quantities import Match, Rules
from milo.synthesis.normalization.wording import Wording

RULERS = (
    "Abdullah Adrian Albert Alexander Alexandre Alexios Alfonso Alphonse Amenhotep Antiochus Augustus Baldwin Baudouin "
    "Beatrix Benedict Benoît Boniface Carl Carol Catherine Charles Christian Clement Clément Constantine Darius David "
    "Edmund Edward Elisabeth Elizabeth Élisabeth Eric Farouk Ferdinand Francis François Franz Frederick Frédéric "
    "Friedrich George Georges Gregory Grégoire Gustav Haakon Harald Hassan Henri Henry Hussein Innocent Isabella James "
    "Jacques Jean John Juliana Julius Justinian Karl Leo Leon Léon Leopold Léopold Louis Ludwig Manuel Margaret "
    "Margrethe Maria Mary Matthias Maximilian Mehmed Michael Mohammed Murad Napoleon Napoléon Nicholas Nicolas Olav "
    "Oscar Otto Paul Pedro Peter Philip Philippe Pie Pierre Pius Radama Rama Ramses Ramesses Ranavalona Richard Robert "
    "Rudolf Selim Sigismund Stephen Suleiman Thutmose Umberto Urban Victor Victoria Wilhelm William Xerxes"
).split()
"""Names that rulers and popes bear with a number. After another word a Roman numeral counts things."""
_TITLES = "King|Queen|Pope|Emperor|Empress|Prince|Tsar|Sultan|Pharaoh|roi|reine|pape|empereur|mpanjaka"
_COUNTED = (
    "war|part|chapter|act|scene|volume|vol|book|type|phase|class|grade|stage|level|section|article|title|appendix|"
    "category|group|type|chapitre|partie|tome|acte|scène|livre|annexe|titre|mondiale|toko|fizarana|boky|ady lehibe"
)
"""Words after which a single I, V or X is a number, too."""
_GOES_ON = r"(?![.-]\w|'(?!s\b)\w)"


def ordinals(w: Wording, order: NumberOrder) -> Rules:
    def say(m: Match) -> str:
        return w.ordinal(int(m[1]), order, "f" in m.re.groupindex)

    def century(m: Match) -> str:
        return w.ordinal(roman(m[1]), order, False) if roman(m[1]) else m[0]

    def ruler(m: Match) -> str:
        return f"{m[1]} {w.regnal(roman(m[2]), order)}" if roman(m[2]) else m[0]

    def counted(m: Match) -> str:
        return f"{m[1]} {w.numeral(roman(m[2]), order)}" if roman(m[2]) else m[0]

    def world_war(m: Match) -> str:
        return f"World War {w.numeral(roman(m[1]) or int(m[1]), order)}"

    suffix = {"mg": "(?:e|è|ème|eme)", "fr": "(?:e|è|ème|eme|er|re|ère)s?", "en": "(?:st|nd|rd|th)"}[w.language]
    rules: Rules = [(pattern, say) for pattern in w.ordinals]
    if w.language == "mg":
        rules.append((r"\b[Ff]aha[- ]?([IVXL]{1,7})\b", century))
    names = "|".join(RULERS)
    return [
        *rules,
        (rf"\b([IVX]{{1,6}}){suffix}\b", century),
        (r"\bWW(I{1,3}|[123])\b", world_war),
        (rf"\b((?:{names})|(?:{_TITLES}) [A-ZÀ-Ý]\w+) ([IVX]{{2,6}}|[VX])\b{_GOES_ON}", ruler),
        (rf"\b({names}) (I)(?= ?[.,;:!?)]| ?$| (?:of|was|ruled|reigned|died|dia|est|fut)\b){_GOES_ON}", ruler),
        (rf"\b((?i:{_COUNTED})) ([IVX]{{1,6}})\b{_GOES_ON}", counted),
        (rf"(?<!\bny )(?<=[a-zé] )()([IVX]{{2,6}})\b{_GOES_ON}", lambda m: counted(m).lstrip()),
    ]
