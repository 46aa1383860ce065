"""Where an engine computes and in which precision: what the settings ask for, held against what the machine has."""

from __future__ import annotations

import os
from typing import Literal

from milo.errors import Invalid
from milo.settings import Settings

Device = Literal["cpu", "cuda"]


def cores(cpu_threads: int) -> int:
    """Threads for an engine on the CPU: the setting, else the cores that this process may use."""
    if cpu_threads > 0:
        return cpu_threads
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ct2_device(settings: Settings) -> Device:
    """The device for CTranslate2; `Invalid` when the settings ask for a GPU that is not there."""
    import ctranslate2

    if settings.device == "cpu":
        return "cpu"
    try:
        has_gpu = ctranslate2.get_cuda_device_count() > 0
    except RuntimeError:
        has_gpu = False
    if settings.device == "cuda" and not has_gpu:
        raise Invalid("MILO_DEVICE=cuda, but CTranslate2 sees no CUDA device (driver missing, or a wheel without CUDA)")
    return "cuda" if has_gpu else "cpu"


def torch_device(settings: Settings) -> Device:
    """The device for torch, whose threads are set for the CPU; `Invalid` when the settings ask for a GPU that is not
    there."""
    import torch

    has_gpu = settings.device != "cpu" and torch.cuda.is_available()
    if settings.device == "cuda" and not has_gpu:
        raise Invalid("MILO_DEVICE=cuda, but torch sees no CUDA device")
    if not has_gpu:
        torch.set_num_threads(cores(settings.cpu_threads))
    return "cuda" if has_gpu else "cpu"


def default_dtype(device: Device) -> str:
    """Half precision on a GPU, single precision on the CPU."""
    return "float16" if device == "cuda" else "float32"


def ct2_compute_type(variable: str, value: str, device: Device, dtype: str = "") -> str:
    """CTranslate2's compute type for the setting `variable`; `Invalid` names those that run on this device.

    `dtype`: of the weights on disk. What was saved as 8-bit numbers is computed with those, where the device can.
    """
    import ctranslate2

    supported = sorted(ctranslate2.get_supported_compute_types(device))
    chosen = default_dtype(device) if value == "default" else value
    if value == "default" and dtype == "I8" and f"int8_{chosen}" in supported:
        chosen = f"int8_{chosen}"
    if chosen not in (*supported, "auto"):
        raise Invalid(f"{variable}={chosen} does not run on {device} here; it can {', '.join(supported)}")
    return chosen
