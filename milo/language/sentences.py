"""Cut a text into sentences and what stands between them, so that nothing is lost: the parts joined give the text.

Knows punctuation and common abbreviations of Malagasy, French and English, and the full stops of other scripts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_ABBREVIATIONS = frozenset(
    "m mm mme mmes mlle mr mrs ms dr pr prof st ste sr jr vs etc cf ex p pp no n° tel tél av bd art fig vol chap env "
    "ing gal rtoa andriamatoa ra ny i.e e.g a.m p.m".split()
)
"""Words whose full stop ends no sentence, unless the next word could not follow otherwise."""
_END = re.compile(r"[.!?…]+(?:[ \u00a0\u202f]?»)?[\"'”’)\]]*(?=\s|$)|[。！？।॥؟۔።]+[」』”’）]*")
_LINE_BREAK = re.compile(r"\s*(?:\r\n|[\r\n\u2028\u2029\x0b\x0c])\s*")
_SOFT_BREAK = re.compile(r"(?<=[,;:—–)\]、，；])\s*|\s+(?=[(\[—–])")


_QUOTED = re.compile('(["“„«][ \u00a0\u202f]?)([^"“”„«»]+?)([ \u00a0\u202f]?["”“»][.!?…]*)')


@dataclass(frozen=True)
class Part:
    """A sentence, or what stands between two (blanks, line breaks, lines without a word)."""

    text: str
    is_sentence: bool


def has_words(text: str) -> bool:
    """Whether there is a letter in it: `12:30 – 5 %` and emoji need no translation."""
    return any(character.isalpha() for character in text)


def _ends_sentence(line: str, match: re.Match[str]) -> bool:
    """Whether the punctuation at `match` ends a sentence and not an abbreviation or an initial."""
    rest = line[match.end() :].lstrip()
    if not rest:
        return True
    first = rest.lstrip("\"'«“‘([¿¡- ")[:1]
    if match[0][0] not in ".…":
        return not first.islower()
    if first.islower():
        return False
    if not match[0].startswith(".") or len(match[0].rstrip("\"'»”’)] \u00a0\u202f")) > 1:
        return True
    word = re.search(r"[\w°.]*$", line[: match.start()])
    before = word[0].lower() if word else ""
    return not (before in _ABBREVIATIONS or (len(before) == 1 and before.isalpha()))


def _sentences(line: str) -> list[Part]:
    """One line, which has no line break in it."""
    parts: list[Part] = []
    start = 0
    for match in _END.finditer(line):
        if not _ends_sentence(line, match):
            continue
        parts += _trimmed(line[start : match.end()])
        start = match.end()
    return parts + _trimmed(line[start:])


def _trimmed(text: str) -> list[Part]:
    """A sentence without the blanks, bullets and quotation marks around it, which become parts of their own."""
    match = re.fullmatch(r"(\s*(?:(?:[-*•–—#>]+|\d{1,3}[.)])\s+)*)(.*?)(\s*)", text, re.DOTALL)
    assert match
    before, core, after = match.groups()
    if quoted := _QUOTED.fullmatch(core):
        opening, core, closing = quoted.groups()
        before, after = before + opening, closing + after
    parts = [Part(before, False), Part(core, has_words(core)), Part(after, False)]
    return [part for part in parts if part.text]


def split(text: str) -> list[Part]:
    """The parts of a text in order; joined again they are the text."""
    parts: list[Part] = []
    start = 0
    for match in _LINE_BREAK.finditer(text):
        parts += _sentences(text[start : match.start()])
        parts.append(Part(match[0], False))
        start = match.end()
    return parts + _sentences(text[start:])


def halves(sentence: str) -> tuple[str, str]:
    """A sentence that is too long, cut near its middle: at a comma or the like, else at a blank, else anywhere.

    Both are shorter than the sentence, which has at least two characters; joined they are the sentence.
    """
    middle = len(sentence) / 2
    for pattern in (_SOFT_BREAK, re.compile(r"\s+")):
        cuts = [match.end() for match in pattern.finditer(sentence) if 0 < match.end() < len(sentence)]
        near = [cut for cut in cuts if len(sentence) / 5 <= cut <= len(sentence) * 4 / 5]
        if near:
            cut = min(near, key=lambda position: abs(position - middle))
            return sentence[:cut], sentence[cut:]
    cut = len(sentence) // 2
    return sentence[:cut], sentence[cut:]
