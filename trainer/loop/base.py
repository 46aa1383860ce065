"""What a training begins with: the device it runs on, and the base model, pinned to one version."""

from __future__ import annotations

import json

import torch

from milo.errors import Invalid, ModelUnavailable
from milo.models import registry
from milo.models.files import read_json, write_durably
from milo.models.registry import ResolvedModel
from milo.settings import Settings
from milo.training.runs import Run


def device_of(settings: Settings) -> torch.device:
    """Where to train. Raises `Invalid` when a GPU was asked for and there is none."""
    cuda = settings.device != "cpu" and torch.cuda.is_available()
    if settings.device == "cuda" and not cuda:
        raise Invalid("MILO_DEVICE=cuda, but torch sees no CUDA device")
    return torch.device("cuda", torch.cuda.current_device()) if cuda else torch.device("cpu")


def pinned(settings: Settings, name: str, run: Run) -> ResolvedModel:
    """The base model, the same one however often the run starts: a deploy under its name meanwhile changes nothing.

    Raises `ModelUnavailable` when it is not here any more, or has been changed.
    """
    path = run.path / "base.json"
    if not path.is_file():
        base = registry.ensure(settings, name)
        write_durably(path, json.dumps({"name": base.name, "version": base.version, "kind": base.kind}))
        return base
    noted = read_json(path)
    begun = f"{noted['name']} {noted['version']}"
    try:
        base = registry.resolve(settings, name if noted["kind"] == "folder" else f"{noted['name']}@{noted['version']}")
    except ModelUnavailable as error:
        raise ModelUnavailable(f"run {run.id} began with {begun}, which is not here: {error.detail}") from None
    if base.version != noted["version"]:
        raise ModelUnavailable(f"run {run.id} began with {begun}, and its files have been changed; begin a new run")
    return base
