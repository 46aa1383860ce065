"""Words and their times, from cross-attention: dynamic time warping between text tokens and encoder frames.

Source: `whisper/timing.py` of https://github.com/openai/whisper. Words are split at spaces, so that `amin'ny` and
`l'heure` stay whole; languages written without spaces are split at characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from milo.protocols import WordTiming

FRAME_S = 0.02
"""One encoder frame."""
UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "yue"})
OPENING = frozenset("\"'“‘«¿¡([{-–—")
LONGEST_S = 0.7
"""Typical length that a word is held against, at most; the first and the last may take twice that (or the median)."""


@dataclass(frozen=True)
class Alignment:
    """A path through (text token, encoder frame); the row after the last token is the end of the text."""

    text_indices: npt.NDArray[np.int64]
    time_indices: npt.NDArray[np.int64]
    probabilities: Sequence[float]
    """Of each text token."""


def split_words(tokens: Sequence[int], token_bytes: dict[int, bytes], language: str) -> list[tuple[str, list[int]]]:
    """(word with its leading space, its tokens), in order; joined they are the whole text."""
    units: list[tuple[str, list[int]]] = []
    raw, group = b"", []
    for token in tokens:  # a character may be spread over several tokens
        raw += token_bytes[token]
        group.append(token)
        try:
            units.append((raw.decode("utf-8"), group))
        except UnicodeDecodeError:
            if len(raw) < 16:
                continue
            units.append((raw.decode("utf-8", "replace"), group))
        raw, group = b"", []
    if group:
        units.append((raw.decode("utf-8", "replace"), group))
    words: list[tuple[str, list[int]]] = []
    for text, ids in units:
        if language in UNSPACED or text[:1].isspace() or not words:
            words.append((text, ids))
        else:
            words[-1] = (words[-1][0] + text, words[-1][1] + ids)
    return _join_punctuation(words)


def _join_punctuation(words: list[tuple[str, list[int]]]) -> list[tuple[str, list[int]]]:
    """Give marks that stand alone to a neighbour: opening ones to the next word, the others to the one before."""
    joined: list[tuple[str, list[int]]] = []
    carried: tuple[str, list[int]] | None = None
    for text, ids in words:
        if carried:
            text, ids, carried = carried[0] + text, carried[1] + ids, None
        bare = text.strip()
        if any(character.isalnum() for character in bare):
            joined.append((text, ids))
        elif (bare and all(character in OPENING for character in bare)) or not joined:
            carried = (text, ids)
        else:
            joined[-1] = (joined[-1][0] + text, joined[-1][1] + ids)
    if carried and joined:
        joined[-1] = (joined[-1][0] + carried[0], joined[-1][1] + carried[1])
    elif carried:
        joined.append(carried)
    return joined


def time_words(words: list[tuple[str, list[int]]], alignment: Alignment, window_s: float) -> list[WordTiming]:
    """Times of the words: inside the window, in order, none empty.

    The path visits every text token once or more; the frame in which it first visits a token (`jumps`) is that
    token's beginning, so a word begins with its first token and ends where the next word's first token begins. The
    last word ends at the row that the path has for the end of the text. Attention says little about silence, so a
    first or last word tends to take the silence beside it: it is shortened to twice the median word, at its outer end.
    """
    if not words:
        return []
    jumps = np.diff(alignment.text_indices, prepend=-1).astype(bool)
    times = alignment.time_indices[jumps] * FRAME_S
    ends = np.cumsum([len(ids) for _, ids in words])
    starts = np.concatenate([[0], ends[:-1]])
    last = len(times) - 1
    begin_s = times[np.minimum(starts, last)].astype(float)
    end_s = times[np.minimum(ends, last)].astype(float)
    lengths = end_s - begin_s
    typical = min(LONGEST_S, float(np.median(lengths[lengths > 0]))) if (lengths > 0).any() else LONGEST_S
    longest = max(2 * typical, 0.5)
    begin_s[0] = max(begin_s[0], end_s[0] - longest)
    end_s[-1] = min(end_s[-1], begin_s[-1] + longest)
    _untangle(begin_s, end_s, window_s)
    return [
        WordTiming(
            word=text,
            start_s=round(float(begin_s[n]), 3),
            end_s=round(float(end_s[n]), 3),
            probability=float(np.mean(alignment.probabilities[starts[n] : ends[n]])),
            tokens=ids,
        )
        for n, (text, ids) in enumerate(words)
    ]


def _untangle(begin_s: Any, end_s: Any, window_s: float) -> None:
    """Clamp to the window and give every word at least one frame (less, where there are more words than frames)."""
    count = len(begin_s)
    least = min(FRAME_S, window_s / count)
    floor = 0.0
    for n in range(count):
        ceiling = window_s - least * (count - n - 1)
        begin_s[n] = min(max(begin_s[n], floor), ceiling - least)
        end_s[n] = min(max(end_s[n], begin_s[n] + least), ceiling)
        floor = end_s[n]


def dtw(cost: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The cheapest monotone path through a (rows, columns) matrix, from corner to corner: (rows, columns) of its steps.

    `total[i, j]` is the cost of the cheapest path to (i, j), from its three neighbours up, left and diagonal. Cells of
    one anti-diagonal (i + j constant) depend on earlier anti-diagonals only, so each is one numpy operation. `step`
    keeps which neighbour it was (0 diagonal, 1 up, 2 left; ties go left, as in Whisper), and the path is read back
    from the end.
    """
    rows, columns = cost.shape
    total = np.full((rows + 1, columns + 1), np.inf)
    total[0, 0] = 0
    step = np.zeros((rows + 1, columns + 1), np.int8)
    step[0, :], step[:, 0] = 2, 1
    for diagonal in range(2, rows + columns + 1):
        i = np.arange(max(1, diagonal - columns), min(rows, diagonal - 1) + 1)
        j = diagonal - i
        choices = np.stack([total[i - 1, j - 1], total[i - 1, j], total[i, j - 1]])
        both = (choices[0] < choices[1]) & (choices[0] < choices[2])
        up = ~both & (choices[1] < choices[0]) & (choices[1] < choices[2])
        choice = np.where(both, 0, np.where(up, 1, 2))
        total[i, j] = cost[i - 1, j - 1] + choices[choice, np.arange(len(i))]
        step[i, j] = choice
    i, j = rows, columns
    path = []
    while i > 0 or j > 0:
        path.append((i - 1, j - 1))
        move = step[i, j]
        i, j = i - (move != 2), j - (move != 1)
    text, time = np.array(path[::-1], np.int64).T
    return text, time
