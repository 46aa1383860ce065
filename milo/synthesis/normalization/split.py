"""Sentences of a text, none longer than a limit: what a voice says in one breath.

Where sentences end: `milo.language.sentences`.
"""

from __future__ import annotations

import re

from milo.language.sentences import sentence_ends

MAX_SENTENCE_CHARS = 200
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
    pieces = [piece for sentence in _cut_at_ends(text) for piece in _cut_to(sentence, max_chars)]
    if first_max_chars and pieces and len(pieces[0]) > first_max_chars:
        ends = [m.end() for m in _CLAUSE.finditer(pieces[0]) if first_max_chars // 3 <= m.end() <= first_max_chars]
        if ends:
            pieces[:1] = [pieces[0][: ends[-1]].strip(), pieces[0][ends[-1] :].strip()]
    return pieces


def _cut_at_ends(text: str) -> list[str]:
    pieces = []
    for line in text.splitlines():
        start = 0
        for end in sentence_ends(line, cased=False):
            pieces.append(line[start:end])
            start = end
        pieces.append(line[start:])
    kept: list[str] = []
    for piece in (" ".join(piece.split()) for piece in pieces):
        if any(c.isalnum() for c in piece):
            kept.append(piece)
        elif piece and kept:
            kept[-1] += f" {piece}" if piece[0].isalnum() else piece
    return kept


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
