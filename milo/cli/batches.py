"""`milo batches ...`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from milo.cli.common import json_option, print_json, print_table, seconds, server_options

if TYPE_CHECKING:
    from milo.client import Milo


@click.group()
def batches() -> None:
    """Look at batches, fetch results, cancel."""


@batches.command("list")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True)
@json_option
@server_options
def list_batches(client: Milo, limit: int, as_json: bool) -> None:
    """Batches, newest first."""
    found = list(client.batches(limit=limit))
    if as_json:
        print_json([batch.model_dump() for batch in found])
        return
    rows = [_row(batch) for batch in found]
    print_table(["id", "state", "done", "failed", "audio", "created", "name"], rows)


def _row(batch: Any) -> tuple[object, ...]:
    done, failed = f"{batch.done}/{batch.total}", batch.counts.get("failed", 0)
    return batch.id, batch.state, done, failed, seconds(batch.audio_s), batch.created_at[:19], batch.name[:60]


@batches.command()
@click.argument("batch_id")
@click.option("--jobs", "with_jobs", is_flag=True, help="Its jobs too.")
@json_option
@server_options
def show(client: Milo, batch_id: str, with_jobs: bool, as_json: bool) -> None:
    """How far a batch is."""
    handle = client.batch_handle(batch_id)
    jobs = list(handle.jobs()) if with_jobs else []
    if as_json:
        extra = {"jobs": [job.model_dump() for job in jobs]} if with_jobs else {}
        print_json({**handle.latest.model_dump(), **extra})
        return
    batch = handle.latest
    counts = ", ".join(f"{count} {state}" for state, count in batch.counts.items() if count)
    fields = {"id": batch.id, "name": batch.name, "state": batch.state, "jobs": counts}
    fields |= {"audio": seconds(batch.audio_s), "left": seconds(batch.eta_s), "created": batch.created_at}
    print_table(["field", "value"], list(fields.items()))
    if with_jobs:
        click.echo()
        rows = [(job.batch_index, job.id, job.state, job.name, (job.error or {}).get("detail")) for job in jobs]
        print_table(["n", "id", "state", "name", "error"], rows)


@batches.command()
@click.argument("batch_id")
@click.option("--format", default="zip", show_default=True, help="zip, jsonl, txt, srt, vtt, tsv or json.")
@click.option("--formats", help="What is in the zip, comma separated.")
@click.option("--out", required=True, type=click.Path(dir_okay=False), help="The file to write.")
@server_options
def results(client: Milo, batch_id: str, format: str, formats: str | None, out: str) -> None:
    """All results of a batch in one file."""
    path = client.batch_handle(batch_id).download(out, format, formats)
    click.echo(f"{path} ({path.stat().st_size} bytes)")


@batches.command()
@click.argument("batch_id")
@server_options
def cancel(client: Milo, batch_id: str) -> None:
    """Cancel what is not done yet."""
    batch = client.batch_handle(batch_id).cancel()
    click.echo(f"{batch.id} {batch.state}")
