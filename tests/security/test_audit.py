"""`make audit` never says that all is well when it could not look."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.support.servers import ROOT

SCRIPT = ROOT / ".ci" / "audit.py"


def report(*packages: dict[str, Any]) -> tuple[int, str]:
    spec = importlib.util.spec_from_file_location("audit", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    result: tuple[int, str] = module.report(json.dumps({"dependencies": packages, "fixes": []}))
    return result


GOOD = {"name": "redis", "version": "8", "vulns": []}
BAD = {"name": "six", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"], "aliases": []}]}
SKIPPED = {"name": "torch", "skip_reason": "not on PyPI"}


@pytest.mark.parametrize(
    ("packages", "code"),
    [([GOOD], 0), ([GOOD, BAD], 1), ([BAD, SKIPPED], 1), ([GOOD, SKIPPED], 2), ([SKIPPED], 2), ([], 2)],
)
def test_only_a_whole_look_without_a_find_is_well(packages: list[dict[str, Any]], code: int) -> None:
    assert report(*packages)[0] == code


def test_a_find_is_named_with_the_version_that_mends_it() -> None:
    assert "six 1: PYSEC-1, mended in 2" in report(GOOD, BAD)[1]


def test_without_a_network_it_says_so() -> None:
    nowhere = {name: "http://127.0.0.1:9" for name in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy")}
    env = os.environ | nowhere | {"NO_PROXY": "", "no_proxy": ""}
    ended = subprocess.run([sys.executable, str(SCRIPT)], env=env, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 2 and "can't be reached" in ended.stdout and "Traceback" not in ended.stderr
