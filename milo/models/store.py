"""The model registry on disk: `models/<name>/<version>/` with a manifest, and `current`, the pointer to one of them.

`current` is a text file: its first line is the version that serves, the lines below are what `rollback` goes back to,
latest first. One atomic rename changes both, so a process killed at any point leaves a pointer that loads.
The version `embedded` means the model that ships inside the package. Knows nothing of the hub or of engines.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock

from milo.errors import ModelUnavailable
from milo.models.ct2_whisper import check_folder_whole
from milo.models.files import (
    MANIFEST,
    check_folder,
    fsync_folder,
    make_manifest,
    read_json,
    sha256_file,
    valid_name,
    weight_files,
    write_durably,
)
from milo.settings import Settings
from milo.storage.secrets import private_home

EMBEDDED = "embedded"
ASSETS = Path(__file__).parents[1] / "assets" / "models"
HISTORY = 20
"""Versions that a pointer remembers for rollback."""


@dataclass(frozen=True)
class ResolvedModel:
    """One version of one model, on this machine."""

    name: str
    """As a person writes it: `milo-tiny-mg`, `openai/whisper-medium`, or a folder's name."""
    version: str
    path: Path
    sha256: str | None
    """Of the whole manifest; None for a folder that was never hashed (`content_sha256` does it)."""
    kind: Literal["embedded", "registry", "hub", "folder"]

    @property
    def label(self) -> str:
        """How results name the model: `milo-tiny-mg@1f3a9c2b`."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True)
class ModelEntry:
    """One line of `milo models list`."""

    name: str
    current: str | None
    """The version that serves; None when nothing was deployed yet."""
    versions: tuple[str, ...]
    weights_bytes: int


def home_of(settings: Settings, name: str) -> Path:
    return settings.home / "models" / valid_name(name)


def embedded_path(name: str) -> Path | None:
    """The folder of a model inside the package, if there is one of this name."""
    folder = ASSETS / valid_name(name)
    return folder if (folder / "config.json").is_file() else None


def history_of(settings: Settings, name: str) -> list[str]:
    """Versions named by the pointer: the current one, then older ones. Empty when there is no pointer."""
    pointer = home_of(settings, name) / "current"
    if pointer.is_dir():  # a link that somebody made by hand
        return [pointer.resolve().name]
    try:
        return pointer.read_text(encoding="utf-8").split()
    except OSError:
        return []


def point(settings: Settings, name: str, version: str) -> None:
    """Make `version` the one that serves. The caller holds `locked`."""
    older = history_of(settings, name) or ([EMBEDDED] if embedded_path(name) else [])
    kept = [version, *(item for item in older if item != version)]
    write_durably(home_of(settings, name) / "current", "\n".join(kept[: HISTORY + 1]) + "\n")


@contextmanager
def locked(settings: Settings, name: str) -> Iterator[Path]:
    """The model's folder, made if need be, held against other deploys, pulls and rollbacks of the same name."""
    folder = home_of(settings, name)
    private_home(settings)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock", timeout=600):
        yield folder


def seal(staging: Path, folder: Path, version: str | None = None, **extra: Any) -> str:
    """Write the manifest of a staged folder and give it its final name. Returns the version.

    Without `version`, it is the first 12 digits of the content's hash: the same files are the same version.
    A version that is already there, whole, is kept.
    """
    manifest = make_manifest(staging, created=datetime.now(timezone.utc).isoformat(timespec="seconds"), **extra)
    version = version or manifest["sha256"][:12]
    write_durably(staging / MANIFEST, json.dumps(manifest, indent=1))
    target = folder / version
    if target.is_dir():
        if not problems(target):
            shutil.rmtree(staging)
            return version
        shutil.rmtree(target)
    staging.rename(target)
    fsync_folder(folder)
    return version


def serving(settings: Settings, name: str) -> str:
    """The version that a registry name serves now; empty when there is none."""
    return next(iter(history_of(settings, name)), EMBEDDED if embedded_path(name) else "")


def problems(folder: Path) -> list[str]:
    """What differs between a version's files and its manifest; empty when all is as it was written."""
    try:
        manifest = read_json(folder / MANIFEST)
    except ModelUnavailable as error:
        return [error.detail]
    differences = []
    for name, entry in manifest.get("files", {}).items():
        path = folder / Path(name).name
        if not path.is_file():
            differences.append(f"{name} is missing")
        elif path.stat().st_size != entry["bytes"]:
            differences.append(f"{name} has {path.stat().st_size} bytes instead of {entry['bytes']}")
        elif sha256_file(path) != entry["sha256"]:
            differences.append(f"{name} has another sha256 than its manifest")
    return differences


def verify(resolved: ResolvedModel) -> list[str]:
    """Compare a model with its manifest. A folder without one is only checked for weights that Milo can load."""
    if (resolved.path / MANIFEST).is_file():
        return problems(resolved.path)
    try:
        check_folder(resolved.path)
        check_folder_whole(resolved.path)
    except ModelUnavailable as error:
        return [error.detail]
    return []


def _weights(folder: Path) -> list[Path]:
    try:
        return weight_files(folder)
    except ModelUnavailable:
        return []


def versions_of(home: Path) -> list[str]:
    """Complete versions under a model's folder, oldest first."""
    if not home.is_dir():
        return []
    found = [item for item in home.iterdir() if not item.name.startswith(".") and (item / MANIFEST).is_file()]
    return [item.name for item in sorted(found, key=lambda item: ((item / MANIFEST).stat().st_mtime_ns, item.name))]


def list_models(settings: Settings) -> list[ModelEntry]:
    """Every model of the registry and of the package, by name."""
    root = settings.home / "models"
    names = {item.name.replace("--", "/") for item in root.iterdir() if item.is_dir()} if root.is_dir() else set()
    embedded = {item.parent.name for item in ASSETS.glob("*/config.json")}
    entries: list[ModelEntry] = []
    for name in sorted(names | embedded):
        try:
            home = home_of(settings, name)
        except Exception:  # a folder somebody put there
            continue
        versions = versions_of(home) + ([EMBEDDED] if name in embedded else [])
        current = next(iter(history_of(settings, name)), EMBEDDED if name in embedded else None)
        folder = ASSETS / name if current == EMBEDDED else home / (current or "")
        size = sum(p.stat().st_size for p in _weights(folder)) if current and folder.is_dir() else 0
        if versions and name not in {entry.name for entry in entries}:
            entries.append(ModelEntry(name, current, tuple(versions), size))
    return entries
