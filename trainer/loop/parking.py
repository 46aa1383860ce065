"""Trainings that stand still in this process, and how their memory on the card is had for others.

Room is made in both directions. An engine that finds no memory calls `offload`: weights, gradients and the optimizer's
moments of a training that stands still move to RAM, in place, so that every reference to a parameter stays good; it
moves itself back when it goes on. A training that finds no memory calls `ask_for_room`: whoever is registered
by `beside` (the worker, for its idle engines) gives memory back, before a micro-batch is cut into smaller parts.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch


class Movable(Protocol):
    """Something whose tensors can be in RAM while it stands still."""

    away: bool
    """They are."""

    def offload(self) -> bool:
        """Move to RAM. False when there is nothing on the card."""


_held: list[Movable] = []
_neighbours: list[Callable[[], bool]] = []
"""Asked for memory by a training that finds too little; each says whether it gave some back."""


@contextmanager
def held(training: Movable) -> Iterator[None]:
    """The training is in memory for the length of the block."""
    _held.append(training)
    try:
        yield
    finally:
        _held.remove(training)


@contextmanager
def beside(give_back: Callable[[], bool]) -> Iterator[None]:
    """In the block, trainings may ask `give_back` for the memory of whatever else is in this process."""
    _neighbours.append(give_back)
    try:
        yield
    finally:
        _neighbours.remove(give_back)


def ask_for_room() -> bool:
    """Whether somebody else gave memory back."""
    return any([give_back() for give_back in _neighbours])


def offload() -> bool:
    """Move every training that stands still off the card. False when nothing was there to move."""
    moved = [training.offload() for training in _held]
    if any(moved):
        gc.collect()
        torch.cuda.empty_cache()
    return any(moved)


def away() -> bool:
    """Whether a training will need the card again before it goes on."""
    return any(training.away for training in _held)


def move(model: Any, optimizer: Any, device: torch.device | str) -> None:
    """Weights, gradients and the optimizer's moments, in place: whoever refers to a parameter still does."""
    model.to(device)
    for state in optimizer.state.values():
        for name, value in state.items():
            if torch.is_tensor(value) and value.dim() > 0:  # the step counter stays where the optimizer wants it
                state[name] = value.to(device)
