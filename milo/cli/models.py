"""`milo models ...`: works on the registry in MILO_HOME, without a server; but for `deploy`, whose gates need one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from milo.cli.common import json_option, load_settings, print_json, print_table, server_options
from milo.cli.screen import make_console
from milo.errors import MiloError

if TYPE_CHECKING:
    from milo.client import Milo


@click.group()
def models() -> None:
    """List, fetch, verify, deploy and roll back models."""


@models.command("list")
@json_option
def list_models(as_json: bool) -> None:
    """The models of this installation; the current version serves."""
    from milo.models import registry

    entries = registry.list_models(load_settings())
    if as_json:
        print_json([_document(entry) for entry in entries])
        return
    rows = [(e.name, e.current, ", ".join(e.versions), f"{e.weights_bytes / 1e6:.1f} MB") for e in entries]
    print_table(["name", "current", "versions", "weights"], rows)


def _document(entry: Any) -> dict[str, Any]:
    return {
        "name": entry.name,
        "current": entry.current,
        "versions": list(entry.versions),
        "weights_bytes": entry.weights_bytes,
    }


@models.command()
@click.argument("name")
@click.option("--revision", help="Branch, tag or commit. Default: main.")
@click.option("--weights", help="Pattern that picks one of several GGUF files.")
@json_option
def pull(name: str, revision: str | None, weights: str | None, as_json: bool) -> None:
    """Fetch a model from the hub (openai/whisper-medium) and let it serve. Goes on where it was cut."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from milo.models import registry

    console = make_console()
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=None)

        def moved(at: Any) -> None:
            progress.update(task, description=at.file, completed=at.done_bytes, total=at.total_bytes)

        resolved = registry.pull(load_settings(), name, revision, moved, weights)
    if as_json:
        print_json({"name": resolved.name, "version": resolved.version, "path": str(resolved.path)})
    else:
        click.echo(f"{resolved.name} {resolved.version} -> {resolved.path}")


@models.command()
@click.argument("name")
@click.argument("source")
@click.option("--checkpoint", help="best, last or a step, where SOURCE is a run. Default: best.")
@click.option("--data", metavar="SOURCE", help="What it is judged on. Default: the data of its run.")
@click.option("--half", is_flag=True, help="Store the weights in float16.")
@click.option("--ungated", is_flag=True, help="Do not compare it with what serves; it is tried out all the same.")
@json_option
@server_options
def deploy(
    client: Milo,
    name: str,
    source: str,
    checkpoint: str | None,
    data: str | None,
    half: bool,
    ungated: bool,
    as_json: bool,
) -> None:
    """Let a checkpoint serve as NAME, if it is not worse than what does now.

    SOURCE is a run (its folder's name, its job, or the recipe's name) or a folder under runs/ of the server.
    """
    is_path = source.startswith((".", "/", "~"))
    request = {"path" if is_path else "run": str(Path(source).expanduser().absolute()) if is_path else source}
    more = {"checkpoint": checkpoint, "data": data, "half": half or None, "ungated": ungated or None}
    request |= {field: value for field, value in more.items() if value is not None}  # type: ignore[misc]
    job = client.wait(client.http.post(f"/models/{name}/deploy", request)["id"]).check()
    result = job.result or {}
    if as_json:
        print_json(result)
    else:
        verdict = result["comparison"]["verdict"]
        click.echo(f"{name} {result['version']} (before: {result['before'] or 'nothing'}; {verdict})")
        guarded = result["guard"]
        for one in guarded["sets"]:
            click.echo(f"guard set {one['name']}: {one['verdict']}, {one['reason']}")
        if not guarded["sets"] and guarded.get("reason"):
            click.echo(f"{guarded['verdict']}: {guarded['reason']}")


@models.command()
@click.argument("name")
@click.option("--forget", metavar="SET", help="Take this set out: deploys may be worse on it from now on.")
@json_option
def guard(name: str, forget: str | None, as_json: bool) -> None:
    """The guard sets of NAME: data that no later version may be worse on."""
    from milo.training import guard as guards

    settings = load_settings()
    if forget is not None:
        guards.forget(settings, name, forget)
    sets = guards.read(settings, name).sets
    if as_json:
        print_json([one.model_dump(mode="json", exclude_defaults=True) for one in sets])
        return
    rows = [(one.name, one.data.source, one.evaluation.split, one.added_by or "-", one.verdict) for one in sets]
    print_table(["set", "data", "split", "added by", "last verdict"], rows)


@models.command()
@click.argument("name")
def rollback(name: str) -> None:
    """Let the version before the current one serve again."""
    from milo.models import registry

    click.echo(f"{name} {registry.rollback(load_settings(), name)}")


@models.command()
@click.argument("names", nargs=-1)
def verify(names: tuple[str, ...]) -> int:
    """Compare models with the hashes they came with. Default: all."""
    from milo.models import registry

    settings = load_settings()
    chosen = names or tuple(entry.name for entry in registry.list_models(settings))
    bad = 0
    for name in chosen:
        try:
            problems = registry.verify(registry.resolve(settings, name))
        except MiloError as error:
            problems = [error.detail]
        bad += bool(problems)
        click.echo(f"{name}: {'; '.join(problems) or 'as it came'}")
    return 1 if bad else 0
