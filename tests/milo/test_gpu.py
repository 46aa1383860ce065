"""GPU readings: empty with a reason on a machine without a GPU, whole on one that has it; no error in either."""

from __future__ import annotations

import json
import sys
import types

import pytest

from milo import gpu


def fake_nvml(**broken: bool) -> types.ModuleType:
    """A pynvml with one card. `broken` names calls that fail, as they do under WSL2."""

    def call(value: object, name: str) -> object:
        if broken.get(name):
            raise RuntimeError("Not Supported")
        return value

    memory = types.SimpleNamespace(used=3 * 10**9, total=16 * 10**9)
    module = types.ModuleType("pynvml")
    parts = {
        "nvmlInit": lambda: call(None, "init"),
        "nvmlDeviceGetCount": lambda: call(1, "count"),
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetName": lambda handle: b"NVIDIA GeForce RTX 5070 Ti",
        "nvmlDeviceGetMemoryInfo": lambda handle: memory,
        "nvmlDeviceGetUtilizationRates": lambda handle: call(types.SimpleNamespace(gpu=42), "utilization"),
        "nvmlDeviceGetTemperature": lambda handle, sensor: 61,
        "nvmlDeviceGetPowerUsage": lambda handle: call(187_500, "power"),
        "nvmlDeviceGetEnforcedPowerLimit": lambda handle: 300_000,
        "NVML_TEMPERATURE_GPU": 0,
    }
    for name, part in parts.items():
        setattr(module, name, part)
    return module


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "_nvml", gpu._Nvml())


def test_without_a_driver_there_are_no_cards_and_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(init=True))
    reading = gpu.read()
    assert reading.gpus == () and reading.reason == "NVML is not available: Not Supported"
    assert gpu.used_bytes() is None and gpu.readings() == []


def test_a_card_is_read_in_base_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml())
    (card,) = gpu.read().gpus
    assert (card.name, card.memory_used_bytes, card.memory_total_bytes) == (
        "NVIDIA GeForce RTX 5070 Ti",
        3_000_000_000,
        16_000_000_000,
    )
    assert (card.utilization, card.temperature_c, card.power_w, card.power_limit_w) == (0.42, 61, 187.5, 300)
    assert json.loads(json.dumps(gpu.readings()))[0]["utilization"] == 0.42


def test_what_the_driver_does_not_say_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(power=True, utilization=True))
    (card,) = gpu.read().gpus
    assert card.power_w is None and card.utilization is None and card.temperature_c == 61


def test_a_card_that_falls_off_the_bus_is_a_reason_not_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(count=True))
    assert gpu.read().reason == "NVML stopped answering: Not Supported"
