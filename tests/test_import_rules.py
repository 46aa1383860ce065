"""The contracts of pyproject.toml hold, and each of them notices an import that breaks it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.servers import ROOT

PACKAGES = ("milo", "api", "workers", "trainer")
BREAKS = [
    ("milo.jobs", "api.app"),
    ("milo.jobs", "workers.tasks"),
    ("milo.jobs", "trainer.vits"),
    ("api.app", "workers.tasks"),
    ("api.app", "trainer.vits"),
    ("api.app", "milo.engines.registry"),
    ("workers.tasks", "api.app"),
    ("trainer.vits", "api.app"),
    ("trainer.vits", "workers.tasks"),
    ("milo.errors", "milo.settings"),
    ("milo.storage.files", "milo.ledger"),
    ("milo.audio.reading", "milo.transcription.windows"),
    ("milo.ledger.claim", "milo.webhooks.signing"),
    ("milo.transcription.windows", "milo.engines.registry"),
    ("milo.engines.registry", "milo.monitoring.alerts"),
    ("milo.stack.up", "milo.client.client"),
    ("milo.client.client", "milo.cli.up"),
]
"""Who imports whom although the rules forbid it: one for each direction that is forbidden."""
CIRCLE = [("milo.chat.reply", "milo.translation.translate"), ("milo.translation.translate", "milo.chat.reply")]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for package in PACKAGES:
        ignore = shutil.ignore_patterns("__pycache__", "assets")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint_imports(tree: Path) -> tuple[int, str]:
    """Exit code and output, its lines not folded."""
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", code, "--no-cache"]
    env = {"PYTHONPATH": str(tree), "COLUMNS": "500"}
    ended = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, timeout=60)
    return ended.returncode, ended.stdout + ended.stderr


def add_import(tree: Path, importer: str, imported: str) -> None:
    path = tree / importer.replace(".", "/")
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    path.write_text(f"{path.read_text()}\nimport {imported}\n")


def test_the_tree_as_it_is_keeps_every_rule(tree: Path) -> None:
    code, output = lint_imports(tree)
    assert code == 0 and " 0 broken" in output, output


def test_each_forbidden_import_is_named(tree: Path) -> None:
    for importer, imported in BREAKS:
        add_import(tree, importer, imported)
    code, output = lint_imports(tree)
    assert code == 1
    assert [pair for pair in BREAKS if f"{pair[0]} -> {pair[1]} " not in output] == [], output


def test_a_circle_is_named(tree: Path) -> None:
    for importer, imported in CIRCLE:
        add_import(tree, importer, imported)
    code, output = lint_imports(tree)
    assert code == 1 and "No cycles are allowed in milo." in output, output
