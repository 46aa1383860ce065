"""Checkpoint folders: which is whole, which to go on from, which to keep, and how one appears only when complete."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

from milo.errors import Invalid, MiloError
from milo.models import registry
from milo.models.files import safetensors_header, weight_files, write_durably
from milo.models.registry import ResolvedModel
from milo.settings import Settings
from milo.storage.roots import named_path
from milo.training.runs import Run
from trainer.loop import checkpoints

OURS = "milo.json"
"""In a checkpoint: what Milo adds to a stock one (the sizes of its files, recent losses)."""
SMALL_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "normalizer.json", "added_tokens.json"),
    *("special_tokens_map.json", "preprocessor_config.json", "processor_config.json"),
)
STATE_FILES = ("optimizer.pt", "scheduler.pt", "rng_state.pth")


def fault(folder: Path) -> str:
    """Why training can't go on from this checkpoint; empty when it can. Reads no pickle."""
    try:
        state = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
        if not isinstance(state.get("global_step"), int):
            return "trainer_state.json names no step"
    except FileNotFoundError:
        return "trainer_state.json is missing"
    except (OSError, ValueError, AttributeError):
        return "trainer_state.json can't be read"
    try:
        adapter = folder / "adapter_model.safetensors"
        for path in [adapter] if adapter.is_file() else weight_files(folder) or [folder / "model.safetensors"]:
            _whole_tensors(path)
    except MiloError as error:
        return error.detail
    for name in STATE_FILES:
        if broken := _broken_zip(folder / name):
            return broken
    return _changed_size(folder)


def _whole_tensors(path: Path) -> None:
    """Raise unless the file is as long as its header says."""
    end = max((one["data_offsets"][1] for one in safetensors_header(path).values()), default=0)
    with path.open("rb") as stream:
        header = int.from_bytes(stream.read(8), "little")
    if path.stat().st_size != 8 + header + end:
        raise MiloError(f"{path.name} is {path.stat().st_size} bytes long, not {8 + header + end}")


def _broken_zip(path: Path) -> str:
    if not path.is_file():
        return f"{path.name} is missing"
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except (OSError, zipfile.BadZipFile):
        return f"{path.name} is cut off or damaged"
    return f"{path.name} is damaged" if bad else ""


def _changed_size(folder: Path) -> str:
    for name, size in extras(folder).get("sizes", {}).items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != size:
            return f"{name} is not as it was written"
    return ""


def extras(folder: Path) -> dict[str, Any]:
    """What Milo wrote beside the stock files; {} for a checkpoint of other make."""
    try:
        found = json.loads((folder / OURS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def step_of(folder: Path) -> int:
    return int(json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))["global_step"])


def last_good(run: Run) -> Path | None:
    """The run's last whole checkpoint. Those after it are set aside, with an alert that says why."""
    restored = checkpoints.restore(run, _whole)
    return restored[1] if restored else None


def _whole(folder: Path) -> Path:
    if why := fault(folder):
        raise checkpoints.Damaged(why)
    return folder


def foreign(path: str) -> Path:
    """The checkpoint a recipe resumes from. Raises `Invalid` that says what is wrong with it."""
    folder = named_path(path).resolve()
    if folder.is_dir() and not (folder / "trainer_state.json").is_file():
        inside = sorted(folder.glob("checkpoint-*/trainer_state.json"), key=lambda one: step_of(one.parent))
        folder = inside[-1].parent if inside else folder
    why = fault(folder) if folder.is_dir() else "there is no such folder"
    if why:
        raise Invalid(f"resume: training can't go on from {folder}: {why}", code="bad_checkpoint")
    return folder


def publish(staged: Path, final: Path, settings: Settings, base: ResolvedModel, **more: Any) -> None:
    """Complete a checkpoint that was written aside, and give it its name; a crash leaves it there or not at all."""
    for name in SMALL_FILES:
        if not (staged / name).is_file():
            try:
                shutil.copyfile(registry.find_file(settings, base, name), staged / name)
            except MiloError:
                continue
    sizes = {path.name: path.stat().st_size for path in sorted(staged.iterdir()) if path.is_file()}
    write_durably(staged / OURS, json.dumps({"sizes": sizes, **more}))
    checkpoints.publish(staged, final)
