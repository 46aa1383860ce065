"""The web process imports no engine."""

from __future__ import annotations

import subprocess
import sys

from tests.support.servers import ROOT

CODE = """
import sys
import api.app
from milo.settings import Settings
api.app.create_app(Settings(_env_file=None)).openapi()
heavy = {"torch", "transformers", "ctranslate2", "onnxruntime", "av", "numpy", "llama_cpp", "milo.engines", "trainer"}
sys.exit(" ".join(sorted(heavy & set(sys.modules))) or 0)
"""


def test_importing_the_api_imports_no_engine_and_no_torch() -> None:
    ended = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, f"imported: {ended.stderr}"
