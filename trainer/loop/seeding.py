"""Random numbers that depend on a name alone, so that a training goes on exactly where it was, and disturbs nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded(name: str, device: torch.device) -> Iterator[None]:
    """Draw from a seed made of `name` inside, and leave the process's own random numbers as they were.

    Torch's on the CPU and on `device`, and numpy's, from which transformers draws the layers that it drops.
    """
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "little")
    before = np.random.get_state()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(number)
        np.random.seed(number % 2**32)
        try:
            yield
        finally:
            np.random.set_state(before)
