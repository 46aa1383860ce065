"""`milo keys ...`: works on the ledger of MILO_HOME or MILO_DATABASE_URL, without a server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from milo.cli.common import json_option, load_settings, print_json, print_table

if TYPE_CHECKING:
    from milo.ledger.keys import Keys


@click.group()
def keys() -> None:
    """Make and revoke API keys."""


def _keys() -> Keys:
    from milo.ledger import Ledger
    from milo.ledger.keys import Keys

    settings = load_settings()
    return Keys(Ledger.open(settings).engine, settings)


@keys.command()
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, help="read, write, admin; several times. Default: read and write.")
@click.option("--days", type=click.FloatRange(min=0, min_open=True), help="The key ends after so many days.")
@json_option
def create(name: str, scopes: tuple[str, ...], days: float | None, as_json: bool) -> None:
    """Make a key. It is shown once, and only its hash is kept."""
    expires_at = None if days is None else time.time() + days * 86_400
    words = [word for scope in scopes for word in scope.split(",")] or ["read", "write"]
    new = _keys().create(name, words, expires_at)
    if as_json:
        print_json({**new.key.document(), "key": new.secret, "webhook_secret": new.webhook_secret})
        return
    click.echo(f"key             {new.secret}")
    click.echo(f"webhook secret  {new.webhook_secret}")
    click.echo(
        f"{new.key.name} ({', '.join(sorted(new.key.scopes))}). Keep them now: they are not shown again.", err=True
    )


@keys.command()
def show() -> None:
    """Print the operator's key: the one in MILO_API_KEY, or that of MILO_HOME, made if there is none yet."""
    from milo.storage.secrets import operator_key

    click.echo(operator_key(load_settings()))


@keys.command("list")
@json_option
def list_keys(as_json: bool) -> None:
    """Every key, revoked ones too."""
    documents = [key.document() for key in _keys().list()]
    if as_json:
        print_json(documents)
        return
    names = ["id", "name", "scopes", "created_at", "expires_at", "revoked_at"]
    rows = [[",".join(d[n]) if n == "scopes" else d[n] for n in names] for d in documents]
    print_table(["id", "name", "scopes", "created", "expires", "revoked"], rows)


@keys.command("usage")
@json_option
def show_usage(as_json: bool) -> None:
    """How much of its quotas each key has used (MILO_KEY_SOCKETS and others)."""
    from milo.ledger import Ledger
    from milo.ledger.usage import known_owners
    from milo.settings import embedded_redis_url
    from milo.storage.files import Files
    from milo.usage import usage_of

    settings = load_settings()
    if "redis_url" not in settings.model_fields_set:
        settings = settings.model_copy(update={"redis_url": embedded_redis_url(settings)})
    engine, files = Ledger.open(settings).engine, Files(settings)
    found = {owner: usage_of(settings, engine, files, owner) for owner in known_owners(engine)}
    if as_json:
        print_json([{"key": owner, "quotas": [one.document() for one in usages]} for owner, usages in found.items()])
        return
    rows = [(owner, one.quota, f"{one.used:g}", one.limit) for owner, usages in found.items() for one in usages]
    print_table(["key", "quota", "used", "limit"], rows)


@keys.command()
@click.argument("which", metavar="NAME_OR_ID")
def revoke(which: str) -> None:
    """Revoke a key; within seconds nothing takes it any more."""
    key = _keys().revoke(which)
    click.echo(f"{key.name} ({key.id}) is revoked")
