"""The command `milo`: thin commands over `milo.client`, `milo.stack.up` and the registries.

This module imports nothing heavy: a command's module is loaded when that command runs, so `milo --help` is instant.
Exit codes: 0 done, 1 something failed, 2 wrong usage, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import importlib
import os
import sys

import click

from milo import __version__
from milo.errors import MiloError

COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("milo.cli.up:up", "Start everything on this machine and keep it running."),
    "status": ("milo.cli.status:status", "Show training, GPU, queues and alerts."),
    "transcribe": ("milo.cli.transcribe:transcribe", "Transcribe files and folders into subtitles and text."),
    "jobs": ("milo.cli.jobs:jobs", "Look at jobs, fetch results, cancel, retry."),
    "batches": ("milo.cli.batches:batches", "Look at batches, fetch results, cancel."),
    "train": ("milo.cli.train:train", "Train a model by a recipe."),
    "runs": ("milo.cli.runs:runs", "List, show and compare trainings."),
    "eval": ("milo.cli.evaluations:evaluate", "Judge MODEL on data: word error rate with its 95 % interval."),
    "compare": ("milo.cli.evaluations:compare", "Is AFTER better than BEFORE?"),
    "pipeline": (
        "milo.cli.evaluations:pipeline",
        "Train by a recipe, judge it, deploy it if it is not worse.",
    ),
    "tts-data": ("trainer.vits.prepare_cli:tts_data", "Prepare recordings of one speaker for fine-tuning a voice."),
    "models": ("milo.cli.models:models", "List, fetch, verify, deploy and roll back models."),
    "keys": ("milo.cli.keys:keys", "Make and revoke API keys."),
    "doctor": ("milo.cli.doctor:doctor", "Check this machine and the running server."),
}
"""Name -> where the command is, and its line in `milo --help`. A test keeps the lines in step with the commands."""


class LazyGroup(click.Group):
    """A group that loads a command's module only when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="milo %(version)s")
def cli() -> None:
    """Milo: one GPU, one queue. Transcribes audio archives and serves speech models.

    Settings are environment variables (MILO_URL, MILO_API_KEY, MILO_HOME, ...), or lines of a file .env;
    .env.example lists them all.
    """


def main() -> None:
    """Run the command line. Every error is one sentence on stderr, never a traceback."""
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
    sys.exit(code if isinstance(code, int) else 0)
