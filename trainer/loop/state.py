"""Where a training stands: weights, optimizer and step in one safetensors file; it goes on from there when killed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

STATE = "state.safetensors"
MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def _named(model: Any) -> list[tuple[str, torch.nn.Parameter]]:
    return [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]


def save(path: Path, model: Any, optimizer: torch.optim.Optimizer, step: int, **extra: Any) -> None:
    """Write the state after `step` steps; a crash leaves the old file or the new one. `extra` must be JSON.

    What is not trained is not written. A weight that has had no gradient yet has no moments.
    """
    tensors = {f"model.{name}": parameter.detach().cpu().clone() for name, parameter in _named(model)}
    for name, parameter in _named(model):
        for moment, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{moment}.{name}"] = value.detach().cpu().clone()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    save_file(tensors, temporary, metadata={"milo": json.dumps({"step": step, **extra})})
    temporary.replace(path)


def load(path: Path, model: Any, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Put a saved state into `model` and `optimizer`. Returns `{"step": …, …extra}`.

    Raises `ValueError` for a weight of another shape, and safetensors' own errors for a damaged or incomplete file.
    """
    with safe_open(path, "pt") as stored, torch.no_grad():
        known = set(stored.keys())
        for name, parameter in _named(model):
            value = stored.get_tensor(f"model.{name}")
            if value.shape != parameter.shape:
                raise ValueError(f"{name} has the shape {tuple(value.shape)} in {path}, not {tuple(parameter.shape)}")
            parameter.copy_(value)
            moments = {m: stored.get_tensor(f"{m}.{name}") for m in MOMENTS if f"{m}.{name}" in known}
            if moments:
                optimizer.state[parameter] = {
                    key: value.to(parameter.device) if key != "step" else value for key, value in moments.items()
                }
        return dict(json.loads(stored.metadata()["milo"]))
