"""Sentences of a text, none longer than a limit: what a voice says in one breath.

Works on raw text too: it does not cut at abbreviations, initials, decimals or the number of a list.
"""

from __future__ import annotations

import re

MAX_SENTENCE_CHARS = 200
_END = re.compile(r"(?:[.!?…]+|[。！？؟।]+)[\"'»”’)\]]*(?=\s|$)|[。！？]+|\n+")
_ABBREVIATIONS = frozenset(
    "atoa rtoa a/toa r/toa mr mrs ms mme mlle dr pr prof ing jly kol md mb ohat jer tel tél pej tok tal taor cf vs "
    "p pp av ap ex p.ex i.e e.g i.h t.k j.k jan janv feb febr févr apr avr aog okt oct nov déc dec ltd".split()
)
_CLAUSE = re.compile(r"[,;:](?=\s)| [-–—](?= )")
_JOINTS = re.compile(
    r" (?=(?:sy|ary|fa|dia|ka|na|nefa|satria|izay|raha|et|ou|mais|que|qui|car|and|or|but|that|which) )"
)


def sentences(text: str, max_chars: int = MAX_SENTENCE_CHARS, first_max_chars: int | None = None) -> list[str]:
    """The sentences of `text` in order, each with its final mark and at most `max_chars` long.

    A longer one is cut at the end of a clause, else before a conjunction, else between words, else anywhere.
    first_max_chars: cut the first sentence earlier, but only at the end of a clause, so that a voice begins soon.
    """
    max_chars = max(1, max_chars)
    found = [piece for sentence in _cut_at_ends(text) for piece in _cut_to(sentence, max_chars)]
    if first_max_chars and found and len(found[0]) > first_max_chars:
        ends = [m.end() for m in _CLAUSE.finditer(found[0]) if first_max_chars // 3 <= m.end() <= first_max_chars]
        if ends:
            found[:1] = [found[0][: ends[-1]].strip(), found[0][ends[-1] :].strip()]
    return found


def _cut_at_ends(text: str) -> list[str]:
    pieces, start = [], 0
    for mark in _END.finditer(text):
        if mark.start() < start or not _is_end(text, start, mark):
            continue
        pieces.append(text[start : mark.end()])
        start = mark.end()
    pieces.append(text[start:])
    kept: list[str] = []
    for piece in (" ".join(piece.split()) for piece in pieces):
        if any(c.isalnum() for c in piece):
            kept.append(piece)
        elif piece and kept:
            kept[-1] += f" {piece}" if piece[0].isalnum() else piece
    return kept


def _is_end(text: str, start: int, mark: re.Match[str]) -> bool:
    if mark[0][0] == "\n" or mark[0].strip("\"'»”’)]") != ".":
        follows = text[mark.end() :].lstrip()[:1]
        return not (set(mark[0]) <= {".", "…"} and follows.islower())
    before = text[max(start, mark.start() - 24) : mark.start()].split()
    word = before[-1] if before else ""
    if re.fullmatch(r"(?:\w\.)*[A-Z]", word) or word.lower().lstrip("(«\"'") in _ABBREVIATIONS:
        return False
    return not (re.fullmatch(r"\d{1,3}", word) and not text[start : mark.start()].strip()[: -len(word)].strip())


def _cut_to(sentence: str, max_chars: int) -> list[str]:
    pieces = []
    while len(sentence) > max_chars:
        at = _best_cut(sentence, max_chars)
        pieces.append(sentence[:at].strip())
        sentence = sentence[at:].strip()
    return [piece for piece in [*pieces, sentence] if piece]


def _best_cut(sentence: str, max_chars: int) -> int:
    """Where to cut: as late as the limit allows, but not so late that a crumb is left over."""
    window = sentence[: max_chars + 1]
    latest = min(max_chars, max(max_chars // 2, len(sentence) - max_chars // 5))
    for pattern in (_CLAUSE, _JOINTS):
        ends = [m.end() for m in pattern.finditer(window) if max_chars // 4 <= m.end() <= latest]
        if ends:
            return ends[-1]
    space = window.rfind(" ", 1)
    return space if space > 0 else max_chars
