"""What counts as an error: how two texts are compared for WER and CER. All of these choices are here, and versioned.

A difference that is not one of hearing is none:

- case, punctuation, spaces, how letters are encoded (NFKC); a hyphen is a space, an apostrophe inside a word stays, and
  all of its forms are one (U+02BB, U+2019 …); œ is oe, æ ae, ß ss; what shows nothing (soft hyphen) is nothing
- tags in angle or square brackets (`<unk>`, `[noise]`)
- numbers in figures or in words, in mg, fr and en: figures are put into words, and where a language says a number in
  more than one way (`READINGS`), in that which is nearer to the other text. In other languages figures stay figures

Diacritics stay: ô and o are different. Beside it there is the raw rate (`raw_words`), which forgives only spaces.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence

from milo.language.malagasy import APOSTROPHES
from milo.synthesis.normalization import WORDINGS
from milo.synthesis.normalization.figures import NUMBER, in_words, read
from milo.synthesis.normalization.wording import Wording

SCORING_VERSION = "milo-3"
"""Changes whenever a text would be compared as another, so that old and new WER are never compared."""

_LETTERS = {ord("œ"): "oe", ord("æ"): "ae", ord("ß"): "ss"} | dict.fromkeys(
    (0xAD, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF), ""
)
_TAGS = re.compile(r"<[^<>\s]{1,40}>|\[[^\[\]]{1,40}\]")
_FIGURES = re.compile(rf"(?<![^\W_])(?<![.,])(?:{NUMBER})(?: ?%)?(?![^\W_])")
Reading = Callable[[str, Wording], str]
"""A number as it is written -> its words."""


def normalise_for_scoring(text: str, language: str = "mg", reading: int = 0) -> str:
    """`text` as it is compared. `reading`: which of the language's `READINGS` figures are put into words by."""
    text = _TAGS.sub(" ", text)
    text = unicodedata.normalize("NFKC", text.translate(APOSTROPHES))
    wording = WORDINGS.get(language)
    if wording is not None and re.search(r"\d", text):
        text = _in_words(text, wording, READINGS[language][reading])
    text = text.lower().translate(APOSTROPHES | _LETTERS)
    kept = "".join(c if c == "'" or unicodedata.category(c)[0] in "LMN" else " " for c in text)
    return " ".join(word.strip("'") for word in kept.split() if word.strip("'"))


def scored_pair(reference: str, text: str, language: str = "mg") -> tuple[str, str]:
    """Both texts as they are compared: where a number may be said in several ways, the nearest to the other text."""
    ways = [_ways(side, language) for side in (reference, text)]
    pairs = [(one, other) for one in ways[0] for other in ways[1]]
    if len(pairs) == 1:
        return pairs[0]
    return min(pairs, key=lambda pair: _distance(pair[0].split(), pair[1].split()))


def raw_words(text: str) -> str:
    """`text` as the raw rate compares it: composed (NFC), one space; case, punctuation, tags and figures count."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def _ways(text: str, language: str) -> list[str]:
    count = len(READINGS.get(language, "1")) if re.search(r"\d", text) else 1
    return list(dict.fromkeys(normalise_for_scoring(text, language, reading) for reading in range(count)))


def _distance(one: Sequence[str], other: Sequence[str]) -> int:
    """Words to substitute, delete or insert (Levenshtein)."""
    row = list(range(len(other) + 1))
    for i, word in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, against in enumerate(other, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != against))
    return row[-1]


# --- numbers ----------------------------------------------------------------------------------------------------------


def _in_words(text: str, wording: Wording, reading: Reading) -> str:
    for pattern in wording.ordinals:
        text = re.sub(pattern, lambda m: wording.ordinal(int(m[1]), "modern", "f" in m.re.groupindex), text)

    def words(match: re.Match[str]) -> str:
        number = match[0].rstrip(" %")
        return reading(number, wording) + (f" {wording.percent}" if match[0].endswith("%") else "")

    return _FIGURES.sub(words, text)


def _as_a_number(written: str, wording: Wording) -> str:
    return in_words(read(written, wording), wording, "modern")


def _units_first(written: str, wording: Wording) -> str:
    return in_words(read(written, wording), wording, "traditional")


def _as_a_year(written: str, wording: Wording) -> str:
    return in_words(read(written, wording), wording, "modern", year=True)


def _without_and(written: str, wording: Wording) -> str:
    return _as_a_number(written, wording).replace(" and ", " ")


def _in_hundreds(written: str, wording: Wording) -> str:
    """1984 -> dix-neuf cent quatre-vingt-quatre."""
    figure = read(written, wording)
    if figure.decimals or not re.fullmatch(r"1[1-9]\d\d", figure.whole):
        return _as_a_number(written, wording)
    hundreds, rest = divmod(int(figure.whole), 100)
    return f"{wording.number(hundreds, 'modern')} cent {wording.number(rest, 'modern') if rest else ''}"


READINGS: Mapping[str, Sequence[Reading]] = {
    "mg": (_as_a_number, _units_first),
    "fr": (_as_a_number, _in_hundreds),
    "en": (_as_a_number, _without_and, _as_a_year),
}
"""How a language says a number; the usual way first."""
