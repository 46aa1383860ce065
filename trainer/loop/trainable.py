"""What `trainer.loop.loop` trains, and what a step of it gives."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from trainer.loop import run_record


@dataclass(frozen=True)
class StepResult:
    """What an optimizer step gave."""

    loss: float
    """Not finite: the step was left out, no weight was changed."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Of this step; means of them are logged."""
    now: dict[str, float] = field(default_factory=dict)
    """Logged as they are, such as the learning rate."""
    ids: list[str] = field(default_factory=list)
    """Of the examples."""
    audio_s: float = 0.0


class Trainable(Protocol):
    """What is trained."""

    device: torch.device
    total: int
    """Optimizer steps of the whole training."""
    best_by: str
    """The metric of `evaluate` that tells the best checkpoint."""
    sign: int
    """1: a smaller value is better; -1: a larger one."""
    panels: tuple[run_record.Panel, ...]
    document: dict[str, Any]
    """dataset.json"""

    def reset(self) -> None:
        """Weights of the base model, optimizers that have seen nothing; memory of earlier ones is let go."""

    def save(self, folder: Path) -> None:
        """Write a checkpoint: a folder that serves, and below `training/` what is needed to go on."""

    def load(self, folder: Path) -> None:
        """Read it. Raises one of `checkpoints.BROKEN` when it is damaged."""

    def step(self, number: int, factor: float, splits: int) -> StepResult:
        """Optimizer step `number` (from 0), with `factor` times its learning rate, micro-batches in `splits` parts."""

    def evaluate(self) -> Generator[None, None, dict[str, float]]:
        """Metrics on held-out data; yields often."""

    def movable(self) -> list[tuple[Any, torch.optim.Optimizer]]:
        """Modules on the card and their optimizers."""

    def sample(self, number: int) -> str:
        """Write something to look at or listen to after step `number`. Returns why not, or ""."""
