"""Which version of a model serves: deploy a folder, go back, take back. Every change is one rename of a pointer."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from milo.errors import Conflict, NotFound
from milo.models.files import MANIFEST, check_folder, model_files, sha256_file, write_durably
from milo.models.store import (
    EMBEDDED,
    embedded_path,
    history_of,
    locked,
    point,
    problems,
    seal,
    serving,
    versions_of,
)
from milo.settings import Settings


def _copy_durably(source: Path, target: Path) -> None:
    with source.open("rb") as reader, target.open("wb") as writer:
        shutil.copyfileobj(reader, writer, 1 << 20)
        writer.flush()
        os.fsync(writer.fileno())


def deploy(settings: Settings, name: str, folder: Path) -> str:
    """Copy a model folder into the registry and make it the one that serves. Returns the version.

    Staged, hashed, compared with the source, then made current by one rename. Raises `ModelUnavailable` for a
    folder without loadable weights, `Conflict` when the source changed or the copy differs; both leave things as
    they were.
    """
    version = stage(settings, name, folder)
    activate(settings, name, version)
    return version


def stage(settings: Settings, name: str, folder: Path) -> str:
    """The first half of `deploy`: the version is there, whole, and what served goes on serving. Returns it."""
    check_folder(folder)
    with locked(settings, name) as home:
        for leftover in home.glob(".staging-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        staging = home / f".staging-{os.getpid()}"
        staging.mkdir()
        try:
            for path in model_files(folder):
                _copy_durably(path, staging / path.name)
            for path in model_files(folder):
                copy = staging / path.name
                if not copy.is_file() or sha256_file(path) != sha256_file(copy):
                    raise Conflict(f"{path} changed while it was copied; deploy it again when nothing writes there")
            check_folder(staging)
            return seal(staging, home, source=str(folder.resolve()))
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise


def activate(settings: Settings, name: str, version: str, over: str | None = None) -> None:
    """The second half: one rename, and a version that is there serves. `NotFound` when it is not.

    `over`: the version that has to be the one that serves until then, as `serving` says it; `Conflict` when another
    has taken its place.
    """
    with locked(settings, name) as home:
        now = serving(settings, name)
        if over is not None and now != over:
            raise Conflict(f"{name} serves {now}, not {over or 'nothing'}; compare with that", code="serving_changed")
        if not (home / version / MANIFEST).is_file():
            raise NotFound(f"{name} has no version {version}")
        point(settings, name, version)


def withdraw(settings: Settings, name: str, version: str) -> str:
    """Take back a version that turned out not to work, if it still serves: the one before it does again, or none.

    Returns the version that serves then; empty for none.
    """
    if serving(settings, name) == version:
        try:
            return rollback(settings, name)
        except Conflict:
            with locked(settings, name) as home:
                if history_of(settings, name)[:1] == [version]:
                    (home / "current").unlink(missing_ok=True)
    return serving(settings, name)


def rollback(settings: Settings, name: str) -> str:
    """Serve the version before the current one. Returns it. `Conflict` when there is none left."""
    with locked(settings, name) as home:
        history = history_of(settings, name)
        for index, version in enumerate(history[1:], start=1):
            usable = embedded_path(name) is not None if version == EMBEDDED else not problems(home / version)
            if usable:
                write_durably(home / "current", "\n".join(history[index:]) + "\n")
                return version
    raise Conflict(f"{name} has no earlier version to go back to", code="no_earlier_version")


def delete_version(settings: Settings, name: str, version: str) -> None:
    """Remove a version that does not serve. `Conflict` for the current one, `NotFound` for an unknown one."""
    with locked(settings, name) as home:
        if version not in versions_of(home):
            raise NotFound(f"{name} has no version {version}")
        if history_of(settings, name)[:1] == [version]:
            raise Conflict(f"{version} of {name} is the one that serves; deploy or roll back first")
        shutil.rmtree(home / version)
