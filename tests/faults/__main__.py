"""`python -m tests.faults`: make the faults, print one table, end with 1 when something does not hold."""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
import traceback
from pathlib import Path

import click
from rich.console import Console

from tests.faults.registry import FAULTS
from tests.faults.table import Row, show

SHORT = 0.05


@click.command()
@click.option("--short", is_flag=True, help=f"The same as --scale {SHORT}.")
@click.option("--scale", type=float, default=1.0, show_default=True, help="How many faults and jobs.")
@click.option("--only", multiple=True, metavar="NAME", help=f"One of: {', '.join(FAULTS)}.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The rows as JSON on stdout.")
def main(short: bool, scale: float, only: tuple[str, ...], seed: int, as_json: bool) -> None:
    """Make every fault, many times, under load, and say what held."""
    unknown = [name for name in only if name not in FAULTS]
    if unknown:
        raise click.UsageError(f"there is no fault {unknown[0]!r}; there are {', '.join(FAULTS)}")
    console = Console(stderr=as_json, width=None if sys.stdout.isatty() else 140)
    rows: list[Row] = []
    for name in only or FAULTS:
        started = time.monotonic()
        rows += _run(name, SHORT if short else scale, seed)
        click.echo(f"{name}: {time.monotonic() - started:.0f} s", err=True)
    show(rows, console)
    if as_json:
        click.echo(json.dumps([row.document() for row in rows], indent=2))
    sys.exit(0 if all(row.holds for row in rows) else 1)


def _run(name: str, scale: float, seed: int) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="milo-faults-") as folder:
        try:
            return FAULTS[name](Path(folder), scale, random.Random(seed))
        except Exception as error:  # a fault that breaks the suite itself is a row, and the others go on
            traceback.print_exc()
            return [Row(name, complaints=[f"{type(error).__name__}: {error}"])]


if __name__ == "__main__":
    main()
