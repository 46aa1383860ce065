"""Loops: the same few tokens over and over, which decoders fall into. Found in token ids: any language."""

from __future__ import annotations

from collections.abc import Sequence

LOOP_TOKENS = 24
"""Longest unit looked for, in tokens."""
LOOP_REPEATS = 4
"""A unit repeated this often is a loop; a unit of one or two tokens (`roa roa …`, laughter) needs two more."""


def find_loop(tokens: Sequence[int]) -> tuple[int, int, int] | None:
    """The longest run of one unit that is repeated without a break: (start, unit length, repeats), or None."""
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
    """The tokens with the unit of the loop once."""
    start, unit, repeats = loop
    return [*tokens[: start + unit], *tokens[start + unit * repeats :]]


def without_loops(tokens: list[int]) -> list[int]:
    """The tokens with every loop cut to one unit."""
    while (loop := find_loop(tokens)) is not None:
        tokens = cut_loop(tokens, loop)
    return tokens
