"""What NVML says of the GPUs of this machine. Initialised when first read; a machine without a GPU is no error."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

RETRY_S = 60.0
"""After NVML could not be started, it is not tried again for this long."""


@dataclass(frozen=True)
class Gpu:
    """One card, now. None where the driver does not say (WSL2 leaves some out)."""

    index: int
    name: str
    memory_used_bytes: int
    memory_total_bytes: int
    utilization: float | None
    """Share of the last moments in which the card was busy, 0 to 1."""
    temperature_c: float | None
    power_w: float | None
    power_limit_w: float | None


@dataclass(frozen=True)
class GpuReading:
    gpus: tuple[Gpu, ...]
    reason: str | None = None
    """Why there are none; None when there are."""


class _Nvml:
    """NVML, started once for each process (a forked child starts it again)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = 0
        self._failed_at = -RETRY_S
        self._reason = ""
        self._library: Any = None

    def get(self) -> tuple[Any, str]:
        """(pynvml, "") or (None, reason)."""
        with self._lock:
            if self._library is not None and self._pid == os.getpid():
                return self._library, ""
            if time.monotonic() - self._failed_at < RETRY_S:
                return None, self._reason
            try:
                import pynvml

                pynvml.nvmlInit()
            except Exception as error:  # no package, no driver, a driver that does not match
                self._failed_at, self._reason = time.monotonic(), f"NVML is not available: {error}"
                return None, self._reason
            self._library, self._pid = pynvml, os.getpid()
            return pynvml, ""

    def forget(self, reason: str) -> None:
        with self._lock:
            self._library, self._failed_at, self._reason = None, time.monotonic(), reason


_nvml = _Nvml()


def _try(call: Callable[[], float]) -> float | None:
    try:
        return float(call())
    except Exception:  # NVMLError_NotSupported and its kin
        return None


def _card(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    name = nvml.nvmlDeviceGetName(handle)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    milliwatts = _try(lambda: nvml.nvmlDeviceGetPowerUsage(handle))
    percent = _try(lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    limit_milliwatts = _try(lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle))
    return Gpu(
        index=index,
        name=name.decode() if isinstance(name, bytes) else str(name),
        memory_used_bytes=int(memory.used),
        memory_total_bytes=int(memory.total),
        utilization=None if percent is None else percent / 100,
        temperature_c=_try(lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
        power_w=None if milliwatts is None else milliwatts / 1000,
        power_limit_w=None if limit_milliwatts is None else limit_milliwatts / 1000,
    )


def read() -> GpuReading:
    """The state of every GPU; empty, with a reason, where there is none. Never raises."""
    nvml, reason = _nvml.get()
    if nvml is None:
        return GpuReading((), reason)
    try:
        gpus = tuple(_card(nvml, index) for index in range(nvml.nvmlDeviceGetCount()))
    except Exception as error:  # the driver was unloaded, or the card fell off the bus
        reason = f"NVML stopped answering: {error}"
        _nvml.forget(reason)
        return GpuReading((), reason)
    return GpuReading(gpus, None if gpus else "the driver sees no GPU")


def readings() -> list[dict[str, Any]]:
    """One dictionary a card, JSON-safe; the fields of `Gpu`."""
    return [asdict(card) for card in read().gpus]


def used_bytes() -> int | None:
    """Memory in use on the first GPU, by everybody; None without one."""
    gpus = read().gpus
    return gpus[0].memory_used_bytes if gpus else None
