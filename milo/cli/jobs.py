"""`milo jobs ...`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from milo.cli.common import json_option, print_json, print_table, seconds, server_options, write_text
from milo.cli.screen import make_console

if TYPE_CHECKING:
    from milo.client import Milo

STATES = ["queued", "running", "succeeded", "failed", "cancelled"]


@click.group()
def jobs() -> None:
    """Look at jobs, fetch results, cancel, retry."""


@jobs.command("list")
@click.option("--state", type=click.Choice(STATES))
@click.option("--kind", help="stt, ping, ...")
@click.option("--batch", "batch_id", help="Only of this batch.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True)
@json_option
@server_options
def list_jobs(client: Milo, limit: int, as_json: bool, **filters: Any) -> None:
    """Jobs, newest first."""
    found = list(client.jobs(limit=limit, **filters))
    if as_json:
        print_json([job.model_dump() for job in found])
        return
    rows = [(j.id, j.kind, j.state, j.priority, seconds(j.audio_s), j.created_at[:19], j.name[:60]) for j in found]
    print_table(["id", "kind", "state", "priority", "audio", "created", "name"], rows)


@jobs.command()
@click.argument("job_id")
@json_option
@server_options
def show(client: Milo, job_id: str, as_json: bool) -> None:
    """Everything about one job."""
    job = client.job(job_id)
    if as_json:
        print_json(job.model_dump())
        return
    document = job.model_dump(exclude={"result", "payload", "error", "progress"})
    document |= {"name": job.name, "progress": _progress(job)}
    document["error"] = (job.error or {}).get("detail")
    print_table(["field", "value"], [(name, value) for name, value in document.items() if value not in (None, "", {})])


@jobs.command()
@click.argument("job_id")
@click.option("--format", default="txt", show_default=True, help="txt, srt, vtt, tsv, json or verbose_json.")
@click.option("--out", type=click.Path(dir_okay=False), help="Into this file instead of stdout.")
@server_options
def result(client: Milo, job_id: str, format: str, out: str | None) -> None:
    """The result of a job, rendered."""
    write_text(client.result(job_id, format), out)


@jobs.command()
@click.argument("job_ids", nargs=-1, required=True)
@server_options
def cancel(client: Milo, job_ids: tuple[str, ...]) -> None:
    """Cancel jobs. A running one stops at its next step."""
    for job_id in job_ids:
        job = client.cancel(job_id)
        click.echo(f"{job.id} {job.state}")


@jobs.command()
@click.argument("job_ids", nargs=-1, required=True)
@server_options
def retry(client: Milo, job_ids: tuple[str, ...]) -> None:
    """Queue jobs that failed or were cancelled once more."""
    for job_id in job_ids:
        job = client.retry(job_id)
        click.echo(f"{job.id} {job.state}")


@jobs.command()
@click.argument("job_id")
@json_option
@server_options
def watch(client: Milo, job_id: str, as_json: bool) -> int:
    """Follow a job to its end. Exit code 1 when it did not succeed."""
    from rich.text import Text

    with make_console().status("") as status:
        job = client.wait(job_id, on_progress=lambda job: status.update(Text(f"{job.state} {_progress(job)}")))
    if as_json:
        print_json(job.model_dump())
    else:
        reason = f": {job.error.get('detail')}" if job.error else ""
        click.echo(f"{job.id} {job.state}{reason}")
    return 0 if job.state == "succeeded" else 1


def _progress(job: Any) -> str:
    total = f"/{job.progress.total:g}" if job.progress.total else ""
    return f"{job.progress.done:g}{total} {job.progress.unit}"
