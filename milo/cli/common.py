"""What the commands share: settings, the client, tables and JSON on stdout, colours."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from milo.cli.screen import raw_of
from milo.terminal import visible

if TYPE_CHECKING:
    from milo.client import Milo
    from milo.settings import Settings


def load_settings() -> Settings:
    """The settings; a wrong value ends the command with the variable's name and exit code 2."""
    from pydantic import ValidationError

    from milo.settings import Settings

    try:
        return Settings()
    except ValidationError as error:
        from milo.variables import explain

        raise click.UsageError(explain(error)) from None


def server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--url` and `--api-key`, and hands the command a `client` instead."""

    @click.option("--url", metavar="URL", help="The server. Default: MILO_URL, or the stack that runs here.")
    @click.option("--api-key", metavar="KEY", help="Default: MILO_API_KEY, or that of MILO_HOME.")
    @functools.wraps(command)
    def with_client(*args: Any, url: str | None, api_key: str | None, **kwargs: Any) -> Any:
        with make_client(load_settings(), url, api_key) as client:
            return command(*args, client=client, **kwargs)

    return with_client


def make_client(settings: Settings, url: str | None = None, api_key: str | None = None, patience_s: float = 3) -> Milo:
    from milo.client import Milo
    from milo.client.client import key_for

    url = url or find_url(settings)
    return Milo(url, api_key or key_for(settings, url), patience_s=patience_s)


def find_url(settings: Settings) -> str:
    """MILO_URL if it is set; else where the stack on this home listens; else where it would."""
    from milo.stack.up import is_up, note_of, url_of

    if "url" not in settings.model_fields_set:
        note = note_of(settings)
        if note and is_up(settings):
            return str(note["url"])
        return url_of(settings.host, settings.port)
    return settings.url


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--json", "as_json", is_flag=True, help="JSON on stdout, for programs.")(command)


def print_json(document: Any) -> None:
    click.echo(json.dumps(document, ensure_ascii=False, indent=2))


def print_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns as wide as their cells, readable by people and by `awk`."""
    lines = [[visible(str(cell), one_line=True) if cell is not None else "-" for cell in row] for row in rows]
    widths = [max(len(line[i]) for line in [list(head), *lines]) for i in range(len(head))]
    for line in [[name.upper() for name in head], *lines]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def colours(stream: Any = None) -> bool:
    """Whether to colour what goes to this stream (default: stderr). https://no-color.org"""
    return (stream or sys.stderr).isatty() and not os.environ.get("NO_COLOR")


def seconds(value: float | None) -> str:
    """`1:02:03`, `2:03` or `3.4 s`."""
    if value is None:
        return "-"
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def write_text(text: str, out: str | None) -> None:
    """To stdout, or whole into a file."""
    from pathlib import Path

    from milo.client.folder.manifest import write_whole

    if out is None:
        stream = sys.stdout if sys.stdout.isatty() else raw_of(sys.stdout)  # a file or a program gets what it is
        stream.write(text if text.endswith("\n") else f"{text}\n")
    else:
        write_whole(Path(out), text)
