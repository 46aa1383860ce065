"""config.json of a checkpoint, and the other small files its family needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from milo.errors import ModelUnavailable
from milo.models import registry
from milo.models.configuration import read_configuration
from milo.models.registry import ResolvedModel
from milo.models.shapes import check_config
from milo.settings import Settings


def read_config(resolved: ResolvedModel, model_type: str, needs: str) -> dict[str, Any]:
    """config.json; `ModelUnavailable` for another `model_type`, in words that end with what `needs` this one, and for
    one that describes other weights than those beside it."""
    config = read_configuration(resolved.path)
    if config.get("model_type") != model_type:
        raise ModelUnavailable(f"{resolved.name} is a {config.get('model_type', 'nameless')} model; {needs}")
    try:
        check_config(resolved.path, config)
    except ModelUnavailable as error:
        apart = ". The two do not belong together" if error.detail.startswith("config.json") else ""
        raise ModelUnavailable(f"{resolved.name}: {error.detail}{apart}") from None
    return config


def find_files(settings: Settings, resolved: ResolvedModel, *choices: Sequence[str]) -> list[Path]:
    """The files of the first choice that is whole: in the model's folder, or where `registry.find_file` looks.

    Raises `ModelUnavailable` for the first file of the first choice when none is.
    """
    missing: ModelUnavailable | None = None
    for names in choices:
        try:
            return [registry.find_file(settings, resolved, name) for name in names]
        except ModelUnavailable as error:
            missing = missing or error
    assert missing is not None
    raise missing
