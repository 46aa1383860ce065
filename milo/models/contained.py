"""Whether all that a model folder consists of lies where a key without the scope `admin` may read."""

from __future__ import annotations

import os
from pathlib import Path

from milo.errors import Forbidden
from milo.models.describe import base_name
from milo.models.resolve import is_path
from milo.models.store import ResolvedModel
from milo.recipes import Recipe
from milo.settings import Settings
from milo.storage.opening import Places
from milo.storage.roots import named_path


def check_recipe(settings: Settings, recipe: Recipe) -> None:
    """Again for a job that begins: what its folders hold may have changed since it was accepted."""
    if recipe.data.confined:
        check_folders(settings, recipe.model, *filter(None, [recipe.resume]))


def check_folders(settings: Settings, *names: str) -> None:
    """Raises `Forbidden` for a folder among the names that may not be read."""
    for name in names:
        if is_path(name) and (folder := named_path(name)).is_dir():
            check_contained(settings, folder)


def check_contained(settings: Settings, folder: Path) -> None:
    """Raises `Forbidden` for a file that leads elsewhere, a pipe or a device among them, or a base model elsewhere."""
    places = Places.of(settings, confined=True)
    for name in ("runs", "models"):
        places = places.and_made(settings.home / name)
    strays = [path.name for path in sorted(folder.iterdir()) if not (path.is_dir() or places.has(path))]
    config = folder / "config.json"
    base = base_name(ResolvedModel(folder.name, "", folder, None, "folder")) if places.has(config) else None
    if base and is_path(base) and not places.contain(os.path.realpath(named_path(base))):
        strays.append("the base model of its config.json")
    if strays or not places.contain(os.path.realpath(folder)):
        detail = f"{folder} can't be used: {strays[0] if strays else 'it'} is no file under an allowed root"
        raise Forbidden(detail, code="path_not_allowed")
