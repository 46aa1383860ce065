"""`milo webhooks ...`: works on the ledger of MILO_HOME or MILO_DATABASE_URL, without a server."""

from __future__ import annotations

import click

from milo.cli.common import json_option, load_settings, print_json


@click.group()
def webhooks() -> None:
    """Read the secret that signs webhooks."""


@webhooks.command()
@click.argument("owner", default="operator")
@json_option
def secret(owner: str, as_json: bool) -> None:
    """The secrets of OWNER, the name of a key, newest first. Default: the operator.

    Whoever receives a webhook checks its signature with one of them (https://www.standardwebhooks.com).
    """
    from milo.errors import NotFound
    from milo.ledger import Ledger
    from milo.webhooks.signing import secrets_of

    settings = load_settings()
    secrets = secrets_of(settings, Ledger.open(settings).engine, owner)
    if not secrets:
        raise NotFound(f"there is no valid key {owner!r}; `milo keys list` shows them", code="unknown_key")
    if as_json:
        print_json({"owner": owner, "secrets": secrets})
        return
    for one in secrets:
        click.echo(one)
