"""`milo train RECIPE.yaml`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from milo.cli.common import json_option, load_settings, print_json, seconds, server_options
from milo.cli.screen import make_console
from milo.errors import Invalid

if TYPE_CHECKING:
    from milo.client import Milo

LOOK_S = 1.0
ENDS = ("succeeded", "failed", "cancelled")

TRAINING_CHECK = "milo.training_check"
"""Entry point of the function that reads a recipe's data: `milo` knows no trainer."""


@click.command()
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--resume",
    metavar="auto|PATH",
    help="Go on from this checkpoint folder; auto: from the last checkpoint that a run of that name has.",
)
@click.option("--set", "changes", metavar="FIELD=VALUE", multiple=True, help="Such as training.max_steps=50.")
@click.option("--follow", is_flag=True, help="Show the steps until it has ended.")
@click.option("--check", is_flag=True, help="Read the data and say what is in it; nothing is trained.")
@json_option
@server_options
def train(
    client: Milo, recipe: Path, resume: str | None, changes: tuple[str, ...], follow: bool, check: bool, as_json: bool
) -> int:
    """Train a model by a recipe. Exit code 1 when it was followed and did not succeed, or checked and is refused."""
    from milo import recipes

    document = load(recipe)
    for change in changes:
        put(document, change)
    made = recipes.check(document)
    chosen = _checkpoint(made.name, resume) if resume else made.resume
    document = made.model_copy(update={"resume": chosen}).model_dump(mode="json")
    if check:
        return _check(absolute(document), as_json)
    job = client.train(absolute(document))
    if follow:
        ended = _follow(client, job.id)
        if as_json:
            print_json(ended)
        return 0 if ended["state"] == "succeeded" else 1
    if as_json:
        print_json(job.model_dump())
    else:
        click.echo(f"{job.id} {job.state}")
    return 0


def _check(document: dict[str, Any], as_json: bool) -> int:
    """Here, without a server, as the trainer reads it: rows kept and dropped, hours, speakers, labels, leaks."""
    from importlib.metadata import entry_points

    from milo import recipes

    readers = list(entry_points(group=TRAINING_CHECK))
    if not readers:
        raise click.ClickException("no trainer is installed beside `milo`, so nothing can read the data: `make env`")
    report = readers[0].load()(load_settings(), recipes.check(document))
    if as_json:
        print_json(report.document())
    else:
        click.echo(str(report))
    return 1 if report.refused else 0


def load(path: Path) -> dict[str, Any]:
    """A recipe's file as a mapping. Raises `Invalid`."""
    import yaml

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Invalid(f"{path} is not YAML: {' '.join(str(error).split())}", code="bad_recipe") from None
    if not isinstance(document, dict):
        raise Invalid(f"{path} is no recipe: it is a mapping with the fields name, task, model, data and training")
    return document


def put(document: dict[str, Any], change: str) -> None:
    """Set one field, `a.b=value`, the value written as in YAML."""
    import yaml

    name, equals, value = change.partition("=")
    parts = name.strip().split(".")
    if not equals or not all(parts):
        raise click.UsageError(f"--set takes FIELD=VALUE, such as training.max_steps=50; not {change!r}")
    at = document
    for part in parts[:-1]:
        at = at.setdefault(part, {})
        if not isinstance(at, dict):
            raise click.UsageError(f"--set {name}: {part} is a value, and has no field {parts[-1]}")
    at[parts[-1]] = yaml.safe_load(value)


def absolute(document: dict[str, Any]) -> dict[str, Any]:
    """Paths that are here, written so that the server finds them whatever folder it runs in."""
    for at, field in ((document, "model"), (document, "resume"), (document["data"], "source")):
        value = at.get(field)
        if not value or value == "synthetic" or (field == "model" and not ("/" in value or "." in value)):
            continue  # a bare word as model is a name of the registry
        path = Path(value).expanduser()
        at[field] = str(path.resolve()) if path.exists() else value
    return document


def _checkpoint(name: str, resume: str) -> str | None:
    if resume != "auto":
        return resume
    from milo.training import runs

    for run in reversed(runs.all_runs(load_settings())):
        if run.named == name and (found := run.checkpoints()):
            return str(found[max(found)])
    click.echo(f"no run named {name} has a checkpoint: it begins anew", err=True)
    return None


def _follow(client: Milo, job_id: str) -> dict[str, Any]:
    """Show how far it is, on stderr, until it has ended. Ctrl-C leaves it running."""
    from rich.text import Text

    console = make_console()
    shown = 0
    with console.status(Text(job_id)) as status:
        try:
            while True:
                document = client.training(job_id)
                alerts = (document["run"] or {}).get("alerts", [])
                for alert in alerts[shown:]:
                    console.print(f"{alert['kind']}: {alert['seen']}; {alert['done']}")
                shown = len(alerts)
                status.update(Text(line(document)))
                if document["state"] in ENDS:
                    break
                time.sleep(LOOK_S)
        except KeyboardInterrupt:
            console.print(f"{job_id} goes on; `milo jobs cancel {job_id}` stops it")
            raise
    click.echo(line(document))
    return document


def line(document: dict[str, Any]) -> str:
    """One line on how far a training is."""
    run = document["run"] or {}
    summary = run.get("summary") or {}
    parts = [document["id"], document["state"]]
    if summary.get("total_steps"):
        parts.append(f"step {summary.get('step', 0)} of {summary['total_steps']}")
    if summary.get("last_loss") is not None:
        parts.append(f"loss {summary['last_loss']:.4f}")
    best = summary.get("best")
    if best and best.get("value") is not None:
        value = f"{100 * best['value']:.1f} %" if best["metric"] in ("eval/wer", "eval/cer") else f"{best['value']:.4f}"
        parts.append(f"best {best['metric'].removeprefix('eval/')} {value} at step {best['step']}")
    if summary.get("eta_s"):
        parts.append(f"{seconds(summary['eta_s'])} left")
    if run.get("waits_for"):
        return f"{' '.join(parts)}, waits: {run['waits_for']}"
    if run.get("silent_since"):
        return f"{' '.join(parts)}, no sign of life since {run['silent_since']}"
    problem = None if document["state"] == "running" else document.get("error")
    return " ".join(parts) + (f": {problem['detail']}" if problem else "")
