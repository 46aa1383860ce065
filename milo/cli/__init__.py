"""The command `milo`: thin commands over `milo.client`, `milo.stack.up` and the registries.

This module imports nothing heavy: a command's module is loaded when that command runs, so `milo --help` is instant.
The commands import what is heavy (pydantic, httpx, SQLAlchemy) inside their functions, so `milo NAME --help` is, too.
Exit codes: 0 done, 1 something failed, 2 wrong usage, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from milo import __version__
from milo.cli.screen import escaping
from milo.errors import MiloError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("milo.cli.up:up", "Start everything on this machine and keep it running."),
    "web": ("milo.cli.web:web", "Print a link that opens the web page on this machine, with a key."),
    "status": ("milo.cli.status:status", "Show training, GPU, queues and alerts."),
    "transcribe": ("milo.cli.transcribe:transcribe", "Transcribe files and folders into subtitles and text."),
    "jobs": ("milo.cli.jobs:jobs", "Look at jobs, fetch results, cancel, retry."),
    "batches": ("milo.cli.batches:batches", "Look at batches, fetch results, cancel."),
    "search": ("milo.cli.search:search", "Find words in transcripts, with their times."),
    "train": ("milo.cli.train:train", "Train a model by a recipe."),
    "runs": ("milo.cli.runs:runs", "List, show and compare trainings."),
    "eval": ("milo.cli.evaluations:evaluate", "Judge MODEL on data: word error rate with its 95 % interval."),
    "compare": ("milo.cli.evaluations:compare", "Is AFTER better than BEFORE?"),
    "pipeline": (
        "milo.cli.evaluations:pipeline",
        "Train by a recipe, judge it, deploy it if it is not worse.",
    ),
    "systems": ("milo.cli.systems:systems", "What watches trainings: states, verdicts, a look now."),
    "models": ("milo.cli.models:models", "List, fetch, verify, deploy and roll back models."),
    "keys": ("milo.cli.keys:keys", "Make and revoke API keys."),
    "webhooks": ("milo.cli.webhooks:webhooks", "Read the secret that signs webhooks."),
    "doctor": ("milo.cli.doctor:doctor", "Check this machine and the running server."),
}
"""Name -> where the command is, and its line in `milo --help`. A test keeps the lines in step with the commands."""


PLUGINS = "milo.commands"
"""The entry point group of commands that live outside of `milo`. They are looked up only for a name that is not in
`COMMANDS` and for `milo --help`: reading what is installed takes longer than the rest of the start."""


class LazyGroup(click.Group):
    """A group that loads a command's module only when the command is asked for."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        with escaping():
            return super().main(*args, **kwargs)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, *plugins()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            module, name = COMMANDS[cmd_name][0].split(":")
            command: click.Command = getattr(importlib.import_module(module), name)
            return command
        plugin = plugins().get(cmd_name)
        return _load(plugin) if plugin else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if plugins():
                raise
            raise click.UsageError(
                f"{error.message} Commands of other packages ({PLUGINS}) are not known, because Milo is not installed "
                "here: run `make env`, or `pip install -e .` in its folder."
            ) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        lines = [(name, line) for name, (_, line) in COMMANDS.items()]
        with formatter.section("Commands"):
            formatter.write_dl(lines)
        if installed := sorted(plugins()):
            formatter.write(f"\n  Also installed: {', '.join(installed)} (milo NAME --help)\n")


def plugins() -> dict[str, EntryPoint]:
    """Commands of other packages, by name; empty when Milo itself is not installed but only on the path."""
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in entry_points(group=PLUGINS)}


def _load(plugin: EntryPoint) -> click.Command:
    try:
        command: click.Command = plugin.load()
    except ImportError as error:
        raise click.ClickException(
            f"the command {plugin.name} ({plugin.value}) can't be loaded: {error}. Install what it needs: `make env`."
        ) from error
    return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="milo %(version)s")
def cli() -> None:
    """Milo: one GPU, one queue. Transcribes audio archives and serves speech models.

    Settings are environment variables (MILO_URL, MILO_API_KEY, MILO_HOME, ...), or lines of a file .env;
    .env.example lists them all.
    """


def main() -> None:
    """Run the command line. Every error is one sentence on stderr, never a traceback."""
    with escaping():
        code = _run()
    sys.exit(code if isinstance(code, int) else 0)


def _run() -> object:
    try:
        code = cli.main(prog_name="milo", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        code = 130
    except MiloError as error:
        click.echo(f"milo: {error.detail}", err=True)
        code = 2 if error.status in (400, 422) else 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `milo … | head` is no failure
        code = 0
    except OSError as error:
        click.echo(f"milo: {error.strerror or error}{f': {error.filename}' if error.filename else ''}", err=True)
        code = 1
    return code
