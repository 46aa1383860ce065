"""Timed words into cues: where a text is cut, how it stands on its lines, and how long it stays.

A cut costs little after a sentence, more after a comma, most amid a phrase; a cue costs more when nobody can read it in
its time. Of all ways to cut a stretch of speech the cheapest is taken (dynamic programming over the words), so that no
single word is left over for a last cue of a few milliseconds, as by filling one cue after the other.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from milo.cue_rules import CueRules

PAUSE_S = 0.6
"""A silence between two words from which on they stand in different cues."""
OVERLAP_S = 0.2
"""A cue that begins so long before the end of the one before it was said at the same time."""
SENTENCE_END = (".", "!", "?", "…", ":", ";", "。", "！", "？")  # noqa: RUF001
PHRASE_END = (",", "،", "、", "，", "–", "—")  # noqa: RUF001
_CUE, _AFTER_PHRASE, _AMID, _SHORT, _FAST = 1.0, 0.4, 1.0, 4.0, 0.5
"""Costs: of a cue; of a cut after a phrase, or amid one; of a cue with no room for its time; of one too fast to read.
"""


class Timed(Protocol):
    """A word with the space before it, and its seconds."""

    @property
    def word(self) -> str: ...
    @property
    def start_s(self) -> float: ...
    @property
    def end_s(self) -> float: ...


T = TypeVar("T", bound=Timed)


@dataclass(frozen=True)
class Piece:
    """A `Timed`: a word, or a part of one that is longer than a line."""

    word: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Cue:
    start_s: float
    end_s: float
    lines: tuple[str, ...]
    speaker: str | None = None


def spread(text: str, start_s: float, end_s: float) -> list[Piece]:
    """The words of a text whose times are not known, over its time in proportion to their characters."""
    words = [piece for word in re.findall(r"\s*\S+", text) for piece in _split_wide(word)]
    each_s = (end_s - start_s) / max(1, sum(len(word) for word in words))
    pieces, done = [], 0
    for word in words:
        pieces.append(Piece(word, start_s + done * each_s, start_s + (done + len(word)) * each_s))
        done += len(word)
    return pieces


def _split_wide(word: str) -> list[str]:
    """Chinese and Japanese have no spaces: each character may begin a line."""
    return re.findall(r"\s*\S", word) if any(_is_wide(character) for character in word) else [word]


def _is_wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in "WF"


def width(text: str) -> int:
    """Places that a text takes on a line: wide characters take two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if _is_wide(c) else 1 for c in text)


def cut(words: Sequence[T], rules: CueRules) -> list[list[T]]:
    """Words into cues: at every pause, and where it reads best."""
    return [cue for stretch in _stretches(words) for cue in _best_cuts(stretch, rules)]


def _stretches(words: Sequence[T]) -> Iterator[list[T]]:
    stretch: list[T] = []
    for word in words:
        if stretch and word.start_s - stretch[-1].end_s >= PAUSE_S:
            yield stretch
            stretch = []
        stretch.append(word)
    if stretch:
        yield stretch


def _best_cuts(words: list[T], rules: CueRules) -> list[list[T]]:
    """The cheapest way to cut a stretch: `least[i]` is the cost of the words from `i` on, `behind[i]` where to cut."""
    count = len(words)
    least = [math.inf] * count + [0.0]
    behind = [0] * count
    for first in range(count - 1, -1, -1):
        for end in _ends(words, first, rules):
            cost = least[end] + _cost(words, first, end, rules)
            if cost < least[first]:
                least[first], behind[first] = cost, end
    cues, first = [], 0
    while first < count:
        cues.append(words[first : behind[first]])
        first = behind[first]
    return cues


def _ends(words: Sequence[Timed], first: int, rules: CueRules) -> Iterator[int]:
    """Where a cue that begins with word `first` may end: while it fits its lines and its time; one word always does."""
    lines, line = 1, 0
    for index in range(first, len(words)):
        text = words[index].word
        line += width(text if line else text.lstrip())
        if line > rules.line_chars and index > first:
            lines, line = lines + 1, width(text.strip())
        too_long = words[index].end_s - words[first].start_s > rules.max_s
        if index > first and (lines > rules.lines or line > rules.line_chars or too_long):
            return
        yield index + 1


def _cost(words: Sequence[Timed], first: int, end: int, rules: CueRules) -> float:
    last, start_s = words[end - 1], words[first].start_s
    final = end == len(words)
    room_s = (last.end_s if final else words[end].start_s) - start_s
    cost = _CUE
    if room_s < rules.min_s:
        cost += _SHORT * (1 - room_s / rules.min_s)
    if rules.chars_per_s:
        reading_s = sum(len(word.word) for word in words[first:end]) / rules.chars_per_s
        cost += _FAST * min(1.0, max(0.0, reading_s / max(room_s, 0.01) - 1))
    mark = last.word.rstrip("\"'»”’)] ")  # noqa: RUF001
    if not final and not mark.endswith(SENTENCE_END):
        pause = min(1.0, max(0.0, words[end].start_s - last.end_s) / PAUSE_S)
        cost += _AFTER_PHRASE if mark.endswith(PHRASE_END) else _AMID - _AFTER_PHRASE * pause
        cost += _lopsided(words, first, end, rules)
    return cost


def _lopsided(words: Sequence[Timed], first: int, end: int, rules: CueRules) -> float:
    """A cue cut amid a sentence should hold a good part of what one can: the rest evens out."""
    full = rules.line_chars * rules.lines
    return 0.5 * (1 - min(1.0, sum(len(word.word) for word in words[first:end]) / full))


def _halve(word: Timed, limit: int) -> Iterator[Piece]:
    """A word that is longer than a line, in pieces that fit."""
    text = word.word.strip()
    parts = math.ceil(width(text) / limit)
    size = math.ceil(len(text) / parts)
    each_s = (word.end_s - word.start_s) / len(text)
    space = word.word[: len(word.word) - len(word.word.lstrip())]
    for at in range(0, len(text), size):
        piece = text[at : at + size]
        start_s = word.start_s + at * each_s
        yield Piece(piece if at else space + piece, start_s, start_s + len(piece) * each_s)


def fit(words: Sequence[Timed], rules: CueRules) -> list[Piece]:
    """The words, those that no line can hold in pieces."""
    pieces: list[Piece] = []
    for word in words:
        if width(word.word.strip()) > rules.line_chars:
            pieces += _halve(word, rules.line_chars)
        else:
            pieces.append(Piece(word.word, word.start_s, word.end_s))
    return pieces


def lay_out(words: Sequence[Timed], rules: CueRules) -> tuple[str, ...]:
    """The words of a cue on as few lines as they need, of about equal length, broken after a phrase where one ends."""
    texts = [word.word for word in words]
    lines: list[str] = []
    while texts:
        needed = _lines_needed(texts, rules.line_chars)
        at = _line_end(texts, needed, rules.line_chars)
        lines.append(" ".join("".join(texts[:at]).split()))
        texts = texts[at:]
    return tuple(line for line in lines if line)


def _lines_needed(texts: Sequence[str], limit: int) -> int:
    lines, line = 1, 0
    for text in texts:
        line += width(text if line else text.lstrip())
        if line > limit and line > width(text.strip()):
            lines, line = lines + 1, width(text.strip())
    return lines


def _line_end(texts: Sequence[str], needed: int, limit: int) -> int:
    """How many of the texts the first of `needed` lines takes."""
    if needed == 1:
        return len(texts)
    aim = width("".join(texts).strip()) / needed
    best, least = 1, math.inf
    for at in range(1, len(texts)):
        line = "".join(texts[:at]).strip()
        if at > 1 and width(line) > limit:
            break
        if _lines_needed(texts[at:], limit) >= needed:
            continue
        bonus = limit / 6 if line.endswith((*SENTENCE_END, *PHRASE_END)) else 0
        cost = abs(width(line) - aim) - bonus
        if cost < least:
            best, least = at, cost
    return best


def timed(cues: Sequence[Sequence[Timed]], rules: CueRules, duration_s: float) -> list[Cue]:
    """Cues with the times they are shown: as long as reading takes, where neither the next cue nor the end forbids it.

    A cue never begins before its first word. Cues that overlap because two people spoke at once stay so.
    """
    made: list[Cue] = []
    for index, words in enumerate(cues):
        start_s, end_s = words[0].start_s, words[-1].end_s
        lines = lay_out(words, rules)
        reading_s = sum(width(line) for line in lines) / rules.chars_per_s if rules.chars_per_s else 0.0
        wanted_s = min(rules.max_s, max(rules.min_s, reading_s))
        shown_s = min(max(end_s, start_s + wanted_s), start_s + rules.max_s, max(duration_s, end_s))
        next_s = cues[index + 1][0].start_s if index + 1 < len(cues) else math.inf
        if next_s > end_s - OVERLAP_S:
            room_s = next_s - start_s
            shown_s = min(shown_s, next_s - min(rules.gap_s, room_s / 4))
        made.append(Cue(start_s, shown_s, lines))
    return made
