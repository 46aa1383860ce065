"""A small file of each container, and the ways to spoil it. An edit is data, so that what was found can be kept."""

from __future__ import annotations

import random
from pathlib import Path
from typing import NamedTuple

SEEDS = Path(__file__).parent / "seeds"
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 10**9, 10**7, 64)
WAYS = ("byte", "little", "big", "cut", "copy", "drop", "swap")


class Edit(NamedTuple):
    """One change. `at` and `size` are taken modulo what is there; `value` is what is written, or whence is copied."""

    way: str
    at: int
    size: int
    value: int


def seeds() -> dict[str, bytes]:
    """Name -> content of each kept file."""
    return {path.name: path.read_bytes() for path in sorted(SEEDS.iterdir())}


def spoil(data: bytes, edits: list[Edit]) -> bytes:
    """The file with all edits made, one after the other."""
    out = bytearray(data)
    for way, at, size, value in edits:
        at, size = at % (len(out) + 1), 1 + size % 64
        if way == "byte":
            out[at : at + 1] = bytes([value & 0xFF])
        elif way in ("little", "big"):
            width = (1, 2, 4, 8)[size % 4]
            out[at : at + width] = (value % 256**width).to_bytes(width, "little" if way == "little" else "big")
        elif way == "cut":
            del out[at:]
        elif way == "copy":
            out[at:at] = out[value % (len(out) + 1) :][: size * 16]
        elif way == "drop":
            del out[at : at + size]
        else:
            other = value % (len(out) + 1)
            out[at : at + size], out[other : other + size] = out[other : other + size], out[at : at + size]
    return bytes(out[: 1 << 20])


def random_edits(source: random.Random, length: int) -> list[Edit]:
    """One to six edits, most of them in the header, where the structure stands."""
    edits = []
    for _ in range(source.randint(1, 6)):
        at = source.randrange(min(length, 200) if source.random() < 0.7 else length)
        value = source.choice(EXTREMES) if source.random() < 0.6 else source.randrange(2**32)
        edits.append(Edit(source.choice(WAYS), at, source.randrange(64), value))
    return edits
