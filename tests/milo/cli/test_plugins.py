"""Commands that other packages bring: by entry points, found only when they are asked for."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import click
import pytest

from milo.cli import COMMANDS, PLUGINS
from tests.support.servers import ROOT

GREET = """
import click

@click.command()
def greet():
    click.echo("Salama")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Nothing but `milo` and click: no package is installed."""
    (tmp_path / "milo").symlink_to(ROOT / "milo")
    (tmp_path / "click").symlink_to(Path(click.__file__).parent)
    return tmp_path


def install(folder: Path, value: str) -> None:
    info = folder / "greeting-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{PLUGINS}]\ngreet = {value}\n")
    (folder / "greeting.py").write_text(GREET)


def milo(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    code = (
        f"import sys; sys.path[:0] = [{str(folder)!r}]; sys.argv[1:] = {list(words)}; from milo.cli import main; main()"
    )
    command = [sys.executable, "-I", "-S", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_an_installed_command_runs_and_is_listed(folder: Path) -> None:
    install(folder, "greeting:greet")
    assert milo(folder, "greet").stdout == "Salama\n"
    assert "greet" in milo(folder, "--help").stdout
    unknown = milo(folder, "gret")
    assert unknown.returncode == 2 and "not installed" not in unknown.stderr


def test_a_command_that_can_not_be_loaded_says_why(folder: Path) -> None:
    install(folder, "greeting.nowhere:greet")
    ended = milo(folder, "greet")
    assert ended.returncode == 1 and "greeting.nowhere" in ended.stderr and "Traceback" not in ended.stderr


def test_where_milo_is_not_installed_an_unknown_command_says_so(folder: Path) -> None:
    ended = milo(folder, "tts-data")
    assert ended.returncode == 2 and "not installed here" in ended.stderr and "make env" in ended.stderr
    assert milo(folder, "--help").returncode == 0


def test_what_pyproject_declares_is_there_and_is_no_command_of_milo() -> None:
    section = (ROOT / "pyproject.toml").read_text().split(f'[project.entry-points."{PLUGINS}"]')[1].split("\n[")[0]
    declared = dict(re.findall(r'^([\w-]+) = "(.+)"$', section, re.MULTILINE))
    assert declared and not declared.keys() & COMMANDS.keys()
    for name, value in declared.items():
        assert isinstance(EntryPoint(name, value, PLUGINS).load(), click.Command)
