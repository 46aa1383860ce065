"""A model in CTranslate2: loading it, and what every backend on CTranslate2 has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from milo.engines.runtime.ct2_cache import Checkpoint
from milo.engines.runtime.devices import Device
from milo.errors import ModelUnavailable


class CT2Model:
    """`model` is CTranslate2's; `checkpoint` is what its family's files say."""

    def __init__(self, model: Any, checkpoint: Checkpoint) -> None:
        self.model = model
        self.weights_bytes = checkpoint.info.weights_bytes

    def free(self) -> None:
        """Nothing to give back: CTranslate2 reuses the blocks it holds."""

    def close(self) -> None:
        self.model.unload_model()


def open_model(
    kind: Callable[..., Any],
    folder: Path,
    label: str,
    device: Device,
    compute_type: str,
    replicas: int,
    threads: int,
    **options: Any,
) -> Any:
    """Load `folder` with one of CTranslate2's classes, `replicas` times side by side on `threads` cores in all.

    Raises `ModelUnavailable` for a folder that can't be loaded; lack of memory is raised as it comes.
    """
    try:
        return kind(
            str(folder),
            device=device,
            compute_type=compute_type,
            inter_threads=replicas,
            intra_threads=max(1, threads // replicas),
            **options,
        )
    except (RuntimeError, ValueError) as error:
        if "memory" in str(error).lower():
            raise
        raise ModelUnavailable(f"CTranslate2 can't load {label}: {error}") from error
