"""A model of transformers in torch: loading it, and what every backend on torch has."""

from __future__ import annotations

from typing import Any

from milo.engines.runtime.devices import Device
from milo.errors import ModelUnavailable
from milo.models.registry import ResolvedModel


class TorchModel:
    """`model` is a module of transformers. It stays on the device and in the mode it is in."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.weights_bytes = sum(p.numel() * p.element_size() for p in model.parameters())

    def free(self) -> None:
        """Give cached memory of the GPU back."""
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def close(self) -> None:
        self.model = None
        self.free()


def load_pretrained(kind: Any, resolved: ResolvedModel, device: Device, dtype: str, **options: Any) -> Any:
    """A model of a class of transformers, from safetensors on this machine, ready to infer.

    Raises `ModelUnavailable` for files that are missing or damaged; lack of memory is raised as it comes.
    """
    import torch

    try:
        model = kind.from_pretrained(
            str(resolved.path), use_safetensors=True, local_files_only=True, dtype=getattr(torch, dtype), **options
        )
    except (OSError, RuntimeError, ValueError) as error:
        if "memory" in str(error).lower():
            raise
        raise ModelUnavailable(f"transformers can't load {resolved.label}: {error}") from error
    return model.eval().to(device)
