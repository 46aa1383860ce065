"""Where the sentences of a text end. Translation and chat cut by `split`, whose parts joined give the text again;
speech cuts by `sentence_ends` (`milo.synthesis.normalization`).

Knows punctuation and common abbreviations of Malagasy, French and English, and the full stops of other scripts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_ABBREVIATIONS = frozenset(
    "m mm mme mmes mlle mr mrs ms dr pr prof st ste sr jr vs etc cf ex p pp n° tel tél av ap bd env md mb ing jly kol "
    "gal atoa rtoa a/toa r/toa andriamatoa ra ny ohat jer pej tok tal taor p.ex i.e e.g i.h t.k j.k a.m p.m ltd "
    "jan janv feb febr févr apr avr aog okt oct nov déc dec".split()
)
"""Words whose full stop ends no sentence."""
_NUMBERED = frozenset("no art fig vol chap".split())
"""Words whose full stop ends no sentence before a number."""
_END = re.compile(
    r"[.!?…]+(?:[ \u00a0\u202f]?»)?[\"'»”’)\]]*(?=\s|$)|[。！？।॥؟۔።]+[」』”’）]*"
    r"|(?<=[^\W\d_])(?:[!?…]+|\.{3}|\.)»?(?=[«“(¿¡]?[^\W\d_])"
)
"""The last line is for what is written without a blank: "…vary?Aiza…"."""
_NO_SENTENCE = re.compile(r"[@/\\=&#_{}<>%]|^www\.")
"""Signs of a word that is an address, a placeholder or code."""
_CLOSING = "\"'»”’)] \u00a0\u202f"
_OPENING = "«“(¿¡"
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


def sentence_ends(line: str, *, cased: bool = True) -> Iterator[int]:
    """Where the sentences of one line end, each position just after the final mark and what closes with it.

    `cased`: a lower-case letter after the mark says that the sentence goes on. False for text made ready to be spoken:
    its numbers are words and its acronyms may be in lower case.
    """
    start = 0
    for mark in _END.finditer(line):
        if _is_end(line, start, mark, cased):
            start = mark.end()
            yield start


def _is_end(line: str, start: int, mark: re.Match[str], cased: bool) -> bool:
    """Whether the marks end the sentence that begins at `start`, and belong to no abbreviation, initial or bullet."""
    after = line[mark.end() :].lstrip()
    if not after:
        return True
    if mark[0][0] in ".!?…" and _goes_on_at_once(line, mark.end()):
        return _runs_on(line, start, mark)
    goes_on = after.lstrip("\"'«“‘([¿¡- ")[:1].islower()
    marks = mark[0].rstrip(_CLOSING)
    if marks != ".":
        return not (goes_on and (cased or set(marks) <= {".", "…"}))
    if cased and goes_on:
        return False
    before = line[start : mark.start()].split()
    word = before[-1].lstrip("(«\"'") if before else ""
    if word.isdecimal() and len(word) <= 3 and len(before) == 1:  # the number of a list
        return False
    if word.lower() in _NUMBERED:
        return not after[:1].isdecimal()
    initial = re.fullmatch(r"(?:\w\.)*[A-Z]", word) or (cased and len(word) == 1 and word.isalpha())
    return not initial and word.lower() not in _ABBREVIATIONS


def _goes_on_at_once(line: str, end: int) -> bool:
    return line[end : end + 1].isalpha() or line[end : end + 1] in tuple(_OPENING)


def _runs_on(line: str, start: int, mark: re.Match[str]) -> bool:
    """Whether a sentence ends at a mark with no blank behind it, and not a name such as Node.js or www.milo.mg."""
    before, behind = line[start : mark.start()].split(), line[mark.end() :].split()
    word = before[-1] if before and not line[mark.start() - 1].isspace() else ""
    if not word or _NO_SENTENCE.search(word + mark[0] + behind[0]):
        return False
    last, following = re.split(r"[.!?…]", word)[-1].lstrip("(«\"'“¿¡"), behind[0].lstrip(_OPENING)
    if not following[:1].isupper() or len(last) < 2:
        return False
    if mark[0].rstrip("»") != ".":
        return True
    return len(before) > 1 and last.islower() and last not in _ABBREVIATIONS and following[1:2].islower()


def spaced(text: str) -> str:
    """The text with a blank between sentences that stand without one."""
    lines = re.split(r"(?<=[\r\n])", text)
    for number, line in enumerate(lines):
        for end in reversed(list(sentence_ends(line))):
            if line[end - 1] in ".!?…»" and _goes_on_at_once(line, end):
                line = f"{line[:end]} {line[end:]}"
        lines[number] = line
    return "".join(lines)


def _sentences(line: str) -> list[Part]:
    """One line, which has no line break in it."""
    parts: list[Part] = []
    start = 0
    for end in sentence_ends(line):
        parts += _trimmed(line[start:end])
        start = end
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
