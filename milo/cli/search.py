"""`milo search WORDS`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from milo.cli.common import json_option, print_json, print_table, server_options

if TYPE_CHECKING:
    from milo.client import Milo


@click.command()
@click.argument("words", nargs=-1, required=True)
@click.option("--language", help="mg, fr, ...")
@click.option("--speaker", help="Only what this speaker says.")
@click.option("--batch", help="Only recordings of this batch.")
@click.option("--since", help="Submitted on this day or later: 2026-11-28.")
@click.option("--until", help="Submitted on this day or earlier.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True)
@json_option
@server_options
def search(client: Milo, words: tuple[str, ...], limit: int, as_json: bool, **filters: Any) -> None:
    """Find words in transcripts, with their times.

    All WORDS must be in one segment; each may go on (vola finds volana). Case and accents do not matter. Malagasy verbs
    are found in any tense. '"two words"' is a phrase.
    """
    from milo.transcription.transcript import timestamp

    hits = list(client.search(" ".join(words), limit=limit, **filters))
    if as_json:
        print_json(hits)
        return
    rows = [(hit["transcript_id"], hit["name"][:40], timestamp(hit["start"], "."), hit["text"]) for hit in hits]
    print_table(["transcript", "recording", "at", "text"], rows)
