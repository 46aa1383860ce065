"""Read the tensors of safetensors files into numpy, in any of the precisions that models are saved in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from milo.errors import ModelUnavailable
from milo.models.files import safetensors_header, weight_files

Floats = npt.NDArray[np.float32]
Tensors = dict[str, npt.NDArray[Any]]


def read_tensors(folder: Path, prefix: str, *, keep_half: bool = False) -> Tensors:
    """Tensors of a safetensors checkpoint whose names start with `prefix`, as float32 (or float16, if they are)."""
    tensors: Tensors = {}
    for path in weight_files(folder):
        raw = np.memmap(path, np.uint8, "r")
        start = 8 + int(raw[:8].view("<u8")[0])
        for name, entry in safetensors_header(path).items():
            if name.startswith(prefix):
                begin, end = entry["data_offsets"]
                half = keep_half and entry["dtype"] == "F16"
                block = raw[start + begin : start + end]
                values = block.view("<f2") if half else _as_float32(block, entry["dtype"])
                tensors[name] = values.reshape(entry["shape"])
    return tensors


def _as_float32(raw: npt.NDArray[np.uint8], dtype: str) -> Floats:
    if dtype == "BF16":
        return (np.frombuffer(raw.tobytes(), "<u2").astype(np.uint32) << 16).view(np.float32)
    if dtype not in ("F16", "F32", "F64"):
        raise ModelUnavailable(f"weights of type {dtype} can't be converted; save the model as F32, F16 or BF16")
    return np.frombuffer(raw.tobytes(), {"F16": "<f2", "F32": "<f4", "F64": "<f8"}[dtype]).astype(np.float32)
