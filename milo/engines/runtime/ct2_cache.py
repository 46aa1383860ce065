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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import ClassVar, Protocol

from filelock import FileLock

from milo.errors import ModelUnavailable
from milo.models.files import fingerprint, fsync_folder, read_json, write_durably
from milo.models.registry import ModelInfo, ResolvedModel
from milo.settings import Settings

SOURCE, TOKENS, CONFIG = "source.json", "tokens.json", "config.json"


class Checkpoint(Protocol):
    """What is needed of a family's checkpoint."""

    @property
    def resolved(self) -> ResolvedModel: ...

    @property
    def info(self) -> ModelInfo: ...


@dataclass(frozen=True)
class Conversion:
    """What to convert, and how."""

    checkpoint: Checkpoint
    module: str
    """`python -m module source target` fills `target` (see `ct2_convert.main`)."""
    recipe: int
    """Raised when a conversion made by an older Milo must not be used."""
    tokens: str
    """JSON for the converter, which finds it as `tokens.json` in its target."""
    config: Mapping[str, object] | None = None
    """CTranslate2's config.json, where it is not the converter that writes it."""

    beside: ClassVar[bool] = True
    """Whether the result may lie in the model's own folder."""

    @property
    def state(self) -> dict[str, object]:
        """What the result depends on; another state, and it is made again."""
        import ctranslate2

        resolved = self.checkpoint.resolved
        return {
            "ctranslate2": ctranslate2.__version__.rsplit(".", 1)[0],
            "model": resolved.sha256 or fingerprint(resolved.path),
            "recipe": self.recipe,
            "tokens": sha256(self.tokens.encode()).hexdigest()[:16],
            **({} if self.config is None else {"config": self.config}),
        }

    def fill(self, folder: Path) -> None:
        """Fill an empty folder with `model.bin` and what belongs to it. Raises `ModelUnavailable`."""
        (folder / TOKENS).write_text(self.tokens, encoding="utf-8")
        _run_converter(self.module, self.checkpoint.resolved.path, folder)
        (folder / TOKENS).unlink()
        if self.config is not None:
            write_durably(folder / CONFIG, json.dumps(self.config))


def dtype_of(info: ModelInfo) -> str:
    """`float16` or `float32`: what the checkpoint was saved in (numpy has no bfloat16; those become float32)."""
    return "float16" if info.dtype == "F16" else "float32"


def _places(settings: Settings, job: Conversion) -> list[Path]:
    """Where the conversion may lie: beside the user's own model, else in the cache."""
    resolved, path = job.checkpoint.resolved, job.checkpoint.resolved.path
    key = sha256(str(path).encode()).hexdigest()[:16]
    cache = settings.home / "cache" / "ct2" / key
    beside = path / f"ct2-{dtype_of(job.checkpoint.info)}"
    ours = resolved.kind in ("registry", "folder") or path.is_relative_to(settings.home)
    return [beside, cache] if job.beside and ours and os.access(path, os.W_OK) else [cache]


@contextmanager
def converted(settings: Settings, job: Conversion) -> Iterator[Path]:
    """The CTranslate2 folder of a model, made if need be; no other process replaces it inside the `with`.

    Raises `ModelUnavailable` when the conversion fails, with its last line.
    """
    state = job.state
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


def _fresh(place: Path, state: dict[str, object]) -> bool:
    try:
        return read_json(place / SOURCE) == state and (place / "model.bin").is_file()
    except ModelUnavailable:
        return False


def _convert(job: Conversion, place: Path, state: dict[str, object]) -> None:
    """Convert into a temporary folder and rename it. The caller holds the lock."""
    for leftover in place.parent.glob(f".{place.name}.tmp-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    staging = place.with_name(f".{place.name}.tmp-{os.getpid()}")
    staging.mkdir()
    try:
        job.fill(staging)
        write_durably(staging / SOURCE, json.dumps(state))
        if place.exists():
            place.rename(staging / "replaced")
        staging.rename(place)
        fsync_folder(place.parent)
        shutil.rmtree(place / "replaced", ignore_errors=True)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _run_converter(module: str, source: Path, target: Path) -> None:
    """`python -m module source target`. Raises `ModelUnavailable` with its last line when it fails."""
    root = str(Path(__file__).parents[3])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", module, str(source), str(target)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ModelUnavailable(f"{source} can't be converted for CTranslate2: {last}")
