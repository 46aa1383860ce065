"""`milo systems`: what watches trainings, and a look by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from milo.cli.common import json_option, print_json, print_table, seconds, server_options

if TYPE_CHECKING:
    from milo.client import Milo


@click.group(invoke_without_command=True)
@click.pass_context
def systems(context: click.Context) -> None:
    """What watches trainings: states, verdicts, a look now.

    Without a command: the list.
    """
    if context.invoked_subcommand is None:
        context.invoke(show)


@systems.command("list")
@json_option
@server_options
def show(client: Milo, as_json: bool) -> None:
    """The state of each system's last look, how old it is, and what it found."""
    rows = client.http.get("/systems")["items"]
    if as_json:
        print_json(rows)
        return
    cells = [
        (row["name"], _state(row), seconds(row["age_s"]), row["checkpoint"], row["reason"] or row["does"])
        for row in rows
    ]
    print_table(("system", "state", "age", "checkpoint", "found"), cells)


def _state(row: dict[str, Any]) -> str:
    return f"{row['state']}, stale" if row["stale"] else str(row["state"])


@systems.command("run")
@click.argument("name")
@json_option
@server_options
def run(client: Milo, name: str, as_json: bool) -> int:
    """Let the system NAME look now, and print what it found. Exit code 1 where it could not tell."""
    document = client.wait(client.http.post(f"/systems/{name}/runs", {})["id"]).check().result or {}
    if as_json:
        print_json(document)
    else:
        click.echo(f"{name}: {document.get('state')}: {document.get('reason')}")
    return 0 if document.get("state") == "ok" else 1
