"""`milo web`."""

from __future__ import annotations

import click

from milo.cli.common import json_option, print_json, server_options
from milo.client import Milo


@click.command()
@server_options
@json_option
def web(client: Milo, as_json: bool) -> None:
    """Print a link that opens the web page on this machine, with a key.

    It counts once, for ten minutes. The page's key ends after twelve hours; `milo keys revoke web` ends it now.
    """
    made = client.http.post("/web/links")
    url = page_url(client.http.url, made["once"])
    if as_json:
        print_json({"url": url, "expires_at": made["expires_at"]})
    else:
        click.echo(url)


def page_url(url: str, ticket: str) -> str:
    """The page of a server, with a ticket behind the `#`, which browsers keep to themselves."""
    return f"{url.replace('//127.0.0.1:', '//localhost:')}/#once={ticket}"
