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


def _named(model: Any) -> list[tuple[str, torch.nn.Parameter]]:
    return [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]


def save(path: Path, model: Any, optimizer: torch.optim.Optimizer, step: int, **extra: Any) -> None:
    """Write the state after `step` steps; a crash leaves the old file or the new one. `extra` must be JSON."""
    tensors = {f"model.{name}": parameter.detach().cpu().clone() for name, parameter in _named(model)}
    for name, parameter in _named(model):
        for moment in ("exp_avg", "exp_avg_sq", "step"):
            tensors[f"{moment}.{name}"] = optimizer.state[parameter][moment].detach().cpu().clone()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    save_file(tensors, temporary, metadata={"milo": json.dumps({"step": step, **extra})})
    temporary.replace(path)


def load(path: Path, model: Any, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Put a saved state into `model` and `optimizer`. Returns `{"step": …, …extra}`."""
    with safe_open(path, "pt") as stored, torch.no_grad():
        for name, parameter in _named(model):
            parameter.copy_(stored.get_tensor(f"model.{name}"))
            moments = {moment: stored.get_tensor(f"{moment}.{name}") for moment in ("exp_avg", "exp_avg_sq", "step")}
            optimizer.state[parameter] = {
                key: value.to(parameter.device) if key != "step" else value for key, value in moments.items()
            }
        return dict(json.loads(stored.metadata()["milo"]))
