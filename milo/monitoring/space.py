"""Room on the disk: how much is free, how much must be, and which checkpoints may go. Best and last never do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from milo.monitoring.schema import DiskStatus
from milo.settings import Settings
from milo.training import runs
from milo.training.runs import Run

ALWAYS = 2
"""Of a run that goes on, the newest checkpoint, and the one to go back to when that one can't be read."""
LOW_DISK_BYTES = 2 * 1024**3
"""Less than this is too little, however small the checkpoints are."""


def checkpoint_bytes(run: Run | None) -> int:
    """Size of a run's newest checkpoint; 0 when it has none."""
    newest = list(run.checkpoints().values())[-1:] if run else []
    return sum(_size(path) for folder in newest for path in folder.rglob("*"))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0


def needed_bytes(run: Run | None) -> int:
    """Room that must be free: two checkpoints of the run, and never less than a floor."""
    return max(2 * checkpoint_bytes(run), LOW_DISK_BYTES)


def free_bytes(folder: Path) -> int:
    """Free room on the disk of a folder. The seam for tests of a full disk."""
    return shutil.disk_usage(folder).free


def disk(settings: Settings, run: Run | None, goes_on: bool = False) -> DiskStatus:
    """`disk` of the status document: the disk of the run, if that training goes on and lies on another than MILO_HOME.

    Null where it can't be asked."""
    folder = run.path if run and goes_on and not _same_disk(run.path, settings.home) else settings.home
    try:
        free: int | None = free_bytes(folder)
        total: int | None = shutil.disk_usage(folder).total
    except OSError:
        free = total = None
    return {
        "where": named(settings, folder),
        "free_bytes": free,
        "total_bytes": total,
        "needed_bytes": needed_bytes(run),
    }


def disks(settings: Settings, run: Run | None) -> dict[Path, int]:
    """Folders to watch, one a disk, and how much must be free there: that of the run that goes on, and MILO_HOME."""
    needed = {settings.home: needed_bytes(run)}
    if run is None or _same_disk(run.path, settings.home):
        return needed
    return {run.path: needed_bytes(run), settings.home: LOW_DISK_BYTES}


def named(settings: Settings, folder: Path) -> str:
    """A folder below MILO_HOME by that name: strangers may read this, and paths have names of users in them."""
    return str(Path("MILO_HOME") / folder.relative_to(settings.home))


def _same_disk(one: Path, other: Path) -> bool:
    try:
        return one.stat().st_dev == other.stat().st_dev
    except OSError:
        return True


def prune(settings: Settings, active: Sequence[Run], bytes_wanted: int) -> list[tuple[str, int]]:
    """Remove checkpoints until `bytes_wanted` are freed, those of ended runs first: `(run/checkpoint, bytes)`."""
    removed: list[tuple[str, int]] = []
    for folder in spare(settings, active):
        if sum(size for _, size in removed) >= bytes_wanted:
            break
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        away = folder.with_name(f".removed-{folder.name}")  # first the name, so that nobody takes a half for a whole
        try:
            folder.rename(away)
        except OSError:
            continue
        shutil.rmtree(away, ignore_errors=True)
        removed.append((f"{folder.parent.name}/{folder.name}", size))
    return removed


def spare(settings: Settings, active: Sequence[Run]) -> Iterator[Path]:
    """Checkpoints that no policy keeps: of ended runs all but best and last, of active ones the old ones."""
    going_on = {run.path for run in active}
    for run in sorted(runs.all_runs(settings), key=lambda run: run.path in going_on):
        kept = protected(run)
        checkpoints = list(run.checkpoints().values())
        newest = max(ALWAYS, _keep_last(run)) if run.path in going_on else 1
        yield from (path for path in checkpoints[: len(checkpoints) - newest] if path.name not in kept)


def protected(run: Run) -> set[str]:
    """Names of the best and the last checkpoint, by the links and by the summary."""
    names = {link.resolve().name for link in (run.path / "best", run.path / "last") if link.is_symlink()}
    summary = run.summary()
    for which in ("best", "last"):
        entry: Any = summary.get(which)
        if isinstance(entry, dict):
            names |= {Path(str(entry["path"])).name} if entry.get("path") else set()
            names |= {f"checkpoint-{entry['step']}"} if entry.get("step") is not None else set()
    return names


def _keep_last(run: Run) -> int:
    try:
        document = yaml.safe_load((run.path / "config.yaml").read_text(encoding="utf-8"))
        return int(document["training"]["keep_last"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError):
        return ALWAYS
