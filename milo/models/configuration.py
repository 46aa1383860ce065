"""What a model says of itself in transformers' terms, whichever format its folder has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from milo.errors import ModelUnavailable
from milo.models import ct2_whisper
from milo.models.files import holds_ctranslate2, read_json


def read_configuration(folder: Path) -> dict[str, Any]:
    """config.json; of a CTranslate2 folder, what its weights tell instead. Raises `ModelUnavailable`."""
    return ct2_whisper.whisper_config(folder) if holds_ctranslate2(folder) else read_json(folder / "config.json")


def require_transformers(folder: Path, name: str, what: str) -> None:
    """Raises `ModelUnavailable` for a CTranslate2 folder. `what` can't be done with it, as in `training needs`."""
    if holds_ctranslate2(folder):
        raise ModelUnavailable(
            f"{name} holds a model in CTranslate2's format, which only serves; {what} its weights in transformers'"
            f" format (safetensors){_origin(name)}"
        )


def _origin(name: str) -> str:
    """`, such as openai/whisper-base`, for a name like Systran's."""
    short = name.rsplit("/", 1)[-1].removeprefix("faster-")
    if short.startswith("distil-whisper-"):
        return f": distil-whisper/distil-{short.removeprefix('distil-whisper-')}"
    return f": openai/{short}" if short.startswith("whisper-") else ", such as openai/whisper-small"
