"""Giving memory back: glibc keeps what a large request needed, and the web process shall stay small."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

LARGE_BYTES = 4 * 1024**2
LARGE_ITEMS = 1000


@functools.lru_cache(maxsize=1)
def _trim() -> Callable[[int], int] | None:
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):  # musl, macOS: their allocators give back by themselves
        return None
    return trim


def give_back() -> None:
    """Return freed memory to the system. Takes milliseconds: call it after large requests only."""
    trim = _trim()
    if trim:
        trim(0)
