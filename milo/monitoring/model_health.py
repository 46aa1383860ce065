"""Are the models of the registry still what was written? Sizes at each check, every byte once a day."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from milo.errors import MiloError
from milo.models.files import MANIFEST, read_json
from milo.models.store import EMBEDDED, home_of, list_models, problems
from milo.monitoring import store
from milo.settings import Settings

AGAIN_S = 86_400.0
"""How long a model whose hashes were right is believed."""
VERIFIED = "models"
"""Name of the document of what was verified."""


def serving(settings: Settings) -> dict[str, Path]:
    """`name@version` -> folder, of every model of the registry that serves now."""
    folders = {}
    for entry in list_models(settings):
        if entry.current and entry.current != EMBEDDED:
            folders[f"{entry.name}@{entry.current}"] = home_of(settings, entry.name) / entry.current
    return folders


def damage(settings: Settings) -> dict[str, list[str]]:
    """What is wrong with which model: sizes as they are now, hashes as the last verification found them."""
    verified = store.read(settings, VERIFIED) or {}
    damaged = {}
    for label, folder in serving(settings).items():
        wrong = sizes(folder) or list(verified.get(label, {}).get("problems", []))
        if wrong:
            damaged[label] = wrong
    return damaged


def sizes(folder: Path) -> list[str]:
    """Files that are missing or have another size than the manifest says."""
    try:
        files: dict[str, Any] = read_json(folder / MANIFEST).get("files", {})
    except MiloError as error:
        return [error.detail]
    wrong = []
    for name, entry in files.items():
        path = folder / Path(name).name
        if not path.is_file():
            wrong.append(f"{name} is missing")
        elif path.stat().st_size != entry["bytes"]:
            wrong.append(f"{name} has {path.stat().st_size} bytes instead of {entry['bytes']}")
    return wrong


def verify_one(settings: Settings) -> str | None:
    """Hash the model that was not hashed for longest, if that is over a day ago. Returns which, or None."""
    models = serving(settings)
    verified = {label: row for label, row in (store.read(settings, VERIFIED) or {}).items() if label in models}
    due = [label for label in models if time.time() - verified.get(label, {}).get("at", 0) > AGAIN_S]
    if not due:
        return None
    label = min(due, key=lambda label: float(verified.get(label, {}).get("at", 0)))
    verified[label] = {"problems": problems(models[label]), "at": time.time()}
    store.write(settings, VERIFIED, verified)
    return label
