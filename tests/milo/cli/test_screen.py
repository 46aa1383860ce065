"""What `milo` prints: nothing of a stranger's drives the operator's terminal."""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from milo.cli import LazyGroup, common, jobs, screen, status
from milo.errors import MiloError
from tests.support.servers import ROOT

HOSTILE = "x\x1b[2J\x9b31m\u202e\u2066\u2028y"
ALERT = ("name", "field", "value", "threshold", "since", "means")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def printed(show: Any) -> str:
    """What a function prints on a terminal, on both streams."""
    out = Terminal()
    with redirect_stdout(out), redirect_stderr(out), screen.escaping():
        show()
    return out.getvalue()


def in_lines(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


def test_tables_lines_and_json_show_what_is_in_them() -> None:
    assert in_lines(printed(lambda: common.print_table(["name"], [[HOSTILE], ["a\nb"]])))
    assert in_lines(printed(lambda: click.echo(HOSTILE)))
    assert in_lines(printed(lambda: sys.stderr.write(HOSTILE)))
    text = printed(lambda: common.print_json({"name": HOSTILE}))
    assert in_lines(text) and json.loads(text) == {"name": HOSTILE}


def test_a_result_is_escaped_on_a_terminal_and_whole_for_a_program() -> None:
    assert in_lines(printed(lambda: common.write_text(HOSTILE, None)))
    pipe = io.StringIO()
    with redirect_stdout(pipe), screen.escaping():
        common.write_text(HOSTILE, None)
    assert pipe.getvalue() == f"{HOSTILE}\n"


def test_colours_are_the_programs_own_and_the_text_beside_them_is_escaped() -> None:
    shown = printed(lambda: screen.say("ok", "green", HOSTILE))
    assert shown.startswith("\x1b[32mok\x1b[0m x") and in_lines(shown.replace("\x1b[32m", "").replace("\x1b[0m", ""))
    assert HOSTILE not in shown


def test_a_console_shows_text_and_takes_no_markup_from_it() -> None:
    def show() -> None:
        screen.make_console().print(f"[link=https://evil.example]{HOSTILE}", soft_wrap=True)

    shown = printed(show)
    assert "\x1b" not in shown and "\x9b" not in shown and "[link=" in shown


def test_the_status_of_another_server_is_escaped() -> None:
    alert = {"active": True, "level": "critical", **dict.fromkeys(ALERT, HOSTILE)}
    document = {
        **{"phase": HOSTILE, "training": {"run": None}, "eval": {"results": None}, "queues": {}, "alerts": [alert]},
        **{
            "gpu": dict.fromkeys(("gpu_util_pct", "vram_used_mb", "vram_total_mb", "temp_c", "reason"), HOSTILE),
            "orchestrator": 1,
            "orchestrator_reason": HOSTILE,
            "auto_fixes": 0,
        },
        **{"paused": [], "workers": [{"node": HOSTILE}], "disk": {"free_bytes": None}, "updated_at": HOSTILE},
    }
    shown = printed(lambda: status._console().print(status.render(document, HOSTILE)))
    assert "\x1b[2J" not in shown and not {"\x9b", "\u202e", "\u2066", "\u2028"} & set(shown)


@pytest.mark.parametrize("error", [MiloError(HOSTILE), click.UsageError(HOSTILE), OSError(2, HOSTILE, HOSTILE)])
def test_every_error_that_ends_a_command_is_escaped(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    from milo import cli

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(jobs.jobs, "invoke", fail)
    monkeypatch.setattr(sys, "argv", ["milo", "jobs", "list"])
    shown = printed(lambda: pytest.raises(SystemExit, cli.main))
    assert shown and in_lines(shown)


def test_the_group_escapes_by_itself_for_whoever_calls_it() -> None:
    @click.command()
    def shout() -> None:
        click.echo(HOSTILE)

    group = LazyGroup("milo", commands={"shout": shout})
    group.get_command = lambda ctx, name: shout  # type: ignore[method-assign]
    assert in_lines(CliRunner().invoke(group, ["shout"]).output)


def test_no_command_makes_a_console_of_its_own() -> None:
    own = [path for path in Path(ROOT, "milo", "cli").glob("*.py") if "rich.console import" in path.read_text()]
    assert [path.name for path in own] == ["screen.py"]
