"""Checkpoint folders of a run: written whole or not at all, read from the last good one, few enough to fit the disk.

Knows nothing of what is in them: the trainers fill and read a folder.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError

from milo.models.files import fsync_folder
from milo.training.runs import Run

T = TypeVar("T")


class Damaged(ValueError):
    """A checkpoint is not whole; its text says why."""


BROKEN = (SafetensorError, OSError, ValueError, KeyError, TypeError)
"""What reading a damaged file raises. Memory that runs out is not among it: the checkpoint is good."""


def write(run: Run, step: int, fill: Callable[[Path], None]) -> Path:
    """`checkpoint-<step>`, filled by `fill(folder)`; it has its name only when every file is on the disk."""
    target = run.path / f"checkpoint-{step}"
    temporary = run.path / f".saving-{step}"
    clear_leftovers(run)
    temporary.mkdir()
    fill(temporary)
    publish(temporary, target)
    return target


def publish(staged: Path, target: Path) -> None:
    """Give a filled folder its name, once all of it is on the disk: a crash leaves it there whole, or not at all."""
    for file in staged.rglob("*"):
        if file.is_file():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
    fsync_folder(staged)
    if target.exists():
        shutil.rmtree(target)
    staged.rename(target)
    fsync_folder(target.parent)


def restore(run: Run, load: Callable[[Path], T]) -> tuple[int, T] | None:
    """(step, what `load(folder)` gives) of the last checkpoint that can be loaded; None when there is none.

    One that can't be loaded is put aside as `broken-checkpoint-<step>`, with an alert.
    """
    clear_leftovers(run)
    for step, folder in reversed(run.checkpoints().items()):
        try:
            return step, load(folder)
        except BROKEN as error:
            reason = str(error) if isinstance(error, Damaged) else f"{type(error).__name__}: {error}"
            aside = folder.with_name(f"broken-{folder.name}")
            shutil.rmtree(aside, ignore_errors=True)
            folder.rename(aside)
            run.alert(
                "corrupt_checkpoint",
                f"{folder.name} can't be loaded: {reason}",
                f"set aside as {aside.name}, the one before is used",
                step=step,
            )
    return None


def prune(run: Run, scores: Mapping[int, float], keep_best: int, keep_last: int) -> None:
    """Remove all but the last ones and the best ones; a smaller score is better."""
    steps = list(run.checkpoints())
    best = sorted((step for step in steps if step in scores), key=lambda step: (scores[step], step))[:keep_best]
    kept = {*steps[-keep_last:], *best}
    for step, folder in run.checkpoints().items():
        if step not in kept:
            gone = folder.with_name(f".gone-{folder.name}")  # no half-removed checkpoint under a good name
            folder.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)


def link(run: Run, name: str, target: Path) -> None:
    """`best` or `last` in the run's folder."""
    temporary = run.path / f".{name}.tmp"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target.name)
    temporary.replace(run.path / name)


def clear_leftovers(run: Run) -> None:
    """What a killed training left half written or half removed."""
    for leftover in (*run.path.glob(".gone-*"), *run.path.glob(".saving*")):
        shutil.rmtree(leftover, ignore_errors=True)
