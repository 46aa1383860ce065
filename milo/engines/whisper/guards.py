"""Whether a decoded text can be trusted: Whisper's guards against hallucination, and one against short loops.

Sources: https://arxiv.org/abs/2212.04356 section 4.5, and `whisper/transcribe.py` of its repository.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from milo.protocols import DecodeOptions

LOOP_TOKENS = 24
"""Longest unit looked for, in tokens."""
LOOP_REPEATS = 4
"""A unit said this often in a row is a loop; a unit of one or two tokens (`roa roa …`, laughter) half as often more."""


@dataclass(frozen=True)
class Attempt:
    """One decoding of one window. `tokens` are text tokens; `ended` is False when it ran into the token limit."""

    tokens: list[int]
    text: str
    avg_logprob: float
    no_speech_prob: float
    temperature: float
    ended: bool
    compression_ratio: float
    loop: tuple[int, int, int] | None


def compression_ratio(text: str) -> float:
    """Bytes of the text over bytes of its zlib form; above 2.4 it repeats itself. 0 for no text."""
    raw = text.encode("utf-8")
    return len(raw) / len(zlib.compress(raw))


def find_loop(tokens: Sequence[int]) -> tuple[int, int, int] | None:
    """The longest run of one unit said again and again: (start, unit length, repeats), or None."""
    best: tuple[int, int, int] | None = None
    size = len(tokens)
    for unit in range(1, min(LOOP_TOKENS, size // LOOP_REPEATS) + 1):
        needed = LOOP_REPEATS + 2 if unit <= 2 else LOOP_REPEATS
        run = 0
        for index in range(unit, size + 1):
            if index < size and tokens[index] == tokens[index - unit]:
                run += 1
                continue
            repeats = run // unit + 1
            if repeats >= needed and (best is None or run + unit > best[1] * best[2]):
                best = (index - run - unit, unit, repeats)
            run = 0
    return best


def cut_loop(tokens: Sequence[int], loop: tuple[int, int, int]) -> list[int]:
    """The tokens with the loop said once."""
    start, unit, repeats = loop
    return [*tokens[: start + unit], *tokens[start + unit * repeats :]]


def is_silence(attempt: Attempt, options: DecodeOptions) -> bool:
    """Whisper's rule: the model saw no speech, and was not sure of what it wrote either."""
    return attempt.no_speech_prob > options.no_speech_threshold and attempt.avg_logprob < options.logprob_threshold


def is_doubtful(attempt: Attempt, options: DecodeOptions) -> bool:
    """Whether another temperature should be tried."""
    if is_silence(attempt, options):
        return False
    return (
        attempt.compression_ratio > options.compression_ratio_threshold
        or attempt.avg_logprob < options.logprob_threshold
        or attempt.loop is not None
    )


def rank(attempt: Attempt, options: DecodeOptions) -> tuple[bool, bool, float]:
    """Sorts doubtful attempts: without repetition first, then the more probable."""
    return (
        attempt.loop is None,
        attempt.compression_ratio <= options.compression_ratio_threshold,
        attempt.avg_logprob,
    )
