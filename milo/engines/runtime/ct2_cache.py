"""Keep the CTranslate2 conversion of a model, beside the model or in the cache: made once, and again when it changes.

The conversion runs in a process of its own, which gives its memory back. Whatever kills it, what is there is whole: it
is written to a temporary folder and renamed, under a lock.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from filelock import FileLock

from milo.errors import ModelUnavailable
from milo.models.files import fingerprint, fsync_folder, read_json, write_durably
from milo.models.registry import ModelInfo, ResolvedModel
from milo.settings import Settings

SOURCE = "source.json"


@dataclass(frozen=True)
class Conversion:
    """What to convert, and how."""

    resolved: ResolvedModel
    info: ModelInfo
    state: dict[str, Any]
    """What the result depends on besides the weights; another state, and it is made again."""
    make: Callable[[Path], None]
    """Fills an empty folder with `model.bin` and what belongs to it. Raises `ModelUnavailable`."""


def dtype_of(info: ModelInfo) -> str:
    """`float16` or `float32`: what the checkpoint was saved in (numpy has no bfloat16; those become float32)."""
    return "float16" if info.dtype == "F16" else "float32"


def _places(settings: Settings, job: Conversion) -> list[Path]:
    """Where the conversion may lie: beside the user's own model, else in the cache."""
    path = job.resolved.path
    key = sha256(str(path).encode()).hexdigest()[:16]
    cache = settings.home / "cache" / "ct2" / key
    beside = path / f"ct2-{dtype_of(job.info)}"
    ours = job.resolved.kind in ("registry", "folder") or path.is_relative_to(settings.home)
    return [beside, cache] if ours and os.access(path, os.W_OK) else [cache]


def _state(job: Conversion) -> dict[str, Any]:
    import ctranslate2

    version = ctranslate2.__version__.rsplit(".", 1)[0]
    model = job.resolved.sha256 or fingerprint(job.resolved.path)
    return {"ctranslate2": version, "model": model, **job.state}


@contextmanager
def converted(settings: Settings, job: Conversion) -> Iterator[Path]:
    """The CTranslate2 folder of a model, made if need be; no other process replaces it inside the `with`.

    Raises `ModelUnavailable` when the conversion fails, with its last line.
    """
    state = _state(job)
    places = _places(settings, job)
    for place in places:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(place.with_name(f".{place.name}.lock"))
            lock.acquire(timeout=1800)
        except OSError:
            if place is places[-1]:
                raise
            continue  # a read-only disk that looked writable
        with lock:
            if not _fresh(place, state):
                _convert(job, place, state)
            yield place
            lock.release()
        return


def _fresh(place: Path, state: dict[str, Any]) -> bool:
    try:
        return read_json(place / SOURCE) == state and (place / "model.bin").is_file()
    except ModelUnavailable:
        return False


def _convert(job: Conversion, place: Path, state: dict[str, Any]) -> None:
    """Convert into a temporary folder and rename it. The caller holds the lock."""
    for leftover in place.parent.glob(f".{place.name}.tmp-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    staging = place.with_name(f".{place.name}.tmp-{os.getpid()}")
    staging.mkdir()
    try:
        job.make(staging)
        write_durably(staging / SOURCE, json.dumps(state))
        if place.exists():
            place.rename(staging / "replaced")
        staging.rename(place)
        fsync_folder(place.parent)
        shutil.rmtree(place / "replaced", ignore_errors=True)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def run_converter(module: str, source: Path, target: Path) -> None:
    """`python -m module source target`. Raises `ModelUnavailable` with its last line when it fails."""
    root = str(Path(__file__).parents[3])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", module, str(source), str(target)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ModelUnavailable(f"{source} can't be converted for CTranslate2: {last}")
