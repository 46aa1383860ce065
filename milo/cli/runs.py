"""`milo runs ...`: reads the run directories in MILO_HOME, without a server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from milo.cli.common import json_option, load_settings, print_json, print_table, seconds
from milo.errors import NotFound

if TYPE_CHECKING:
    from milo.training.runs import Run


@click.group(invoke_without_command=True)
@click.pass_context
def runs(context: click.Context) -> None:
    """List, show and compare trainings."""
    if context.invoked_subcommand is None:
        context.invoke(list_runs)


@runs.command("list")
@json_option
def list_runs(as_json: bool) -> None:
    """All runs, newest first."""
    from milo.training.runs import all_runs

    found = list(reversed(all_runs(load_settings())))
    if as_json:
        print_json([{"id": run.id, **run.summary()} for run in found])
        return
    print_table(["run", "state", "step", "loss", "best", "at step"], [_row(run) for run in found])


def _row(run: Run) -> list[object]:
    about = run.summary()
    best = about.get("best") or {}
    step = f"{about.get('step', 0)}/{about.get('total_steps') or '?'}"
    return [run.id, _state(about), step, _number(about.get("last_loss")), _best(best), best.get("step")]


def _state(about: dict[str, Any]) -> str:
    """The state; of one that seems to train and wrote nothing lately, since when."""
    from milo.training.runs import silent_since

    at = silent_since(about, time.time())
    state = str(about.get("state") or "not begun")
    return f"{state}; nothing written since {datetime.fromtimestamp(at):%Y-%m-%d %H:%M:%S}" if at else state


def _number(value: Any) -> str | None:
    return None if value is None else f"{value:.4f}"


def _best(best: dict[str, Any]) -> str | None:
    if best.get("value") is None:
        return None
    name = best["metric"].removeprefix("eval/")
    return f"{name} {100 * best['value']:.1f} %" if name in ("wer", "cer") else f"{name} {best['value']:.4f}"


def _left(about: dict[str, Any]) -> str | None:
    from milo.training.runs import silent_since

    goes_on = about.get("state") == "training" and silent_since(about, time.time()) is None
    return seconds(about.get("eta_s")) if goes_on and about.get("eta_s") is not None else None


def _find(name: str) -> Run:
    from milo.models.files import near
    from milo.training import runs as folders

    settings = load_settings()
    run = folders.find(settings, name)
    if run is None:
        known = [one.id for one in folders.all_runs(settings)]
        raise NotFound(f"there is no run {name}; `milo runs list` shows them.{near(name, known)}", code="unknown_run")
    return run


@runs.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """One run: by its folder, its job's id, or its recipe's name (the latest of that name)."""
    run = _find(name)
    if as_json:
        print_json({"id": run.id, "path": str(run.path), **run.summary(), "alerts": run.alerts()})
        return
    about = run.summary()
    fields = [("run", run.id), ("path", run.path), ("state", _state(about)), ("model", about.get("model"))]
    fields += [("step", f"{about.get('step', 0)} of {about.get('total_steps') or '?'}"), ("epoch", about.get("epoch"))]
    fields += [("loss", _number(about.get("last_loss"))), ("left", _left(about))]
    fields += [
        ("best", _best(about.get("best") or {})),
        ("checkpoints", ", ".join(map(str, run.checkpoints())) or None),
    ]
    fields += [("error", about.get("error"))]
    print_table(["field", "value"], [field for field in fields if field[1] is not None])
    rows = [row for row in run.metrics() if any(key.startswith("eval/") for key in row)]
    if rows:
        click.echo()
        wanted = ("eval/loss", "eval/wer", "eval/cer")
        print_table(["step", "loss", "wer %", "cer %"], [[row["step"], *_shown(row, wanted)] for row in rows])
    for alert in run.alerts():
        at = f" at step {alert['step']}" if alert.get("step") is not None else ""
        click.echo(f"{alert['kind']}{at}: {alert['seen']}; {alert['done']}", err=True)


def _shown(row: dict[str, Any], names: tuple[str, ...]) -> Iterator[str | None]:
    for name in names:
        value = row.get(name)
        percent = name in ("eval/wer", "eval/cer")
        yield None if value is None else f"{100 * value:.2f}" if percent else f"{value:.4f}"


@runs.command()
@click.argument("names", nargs=-1, required=True)
@json_option
def compare(names: tuple[str, ...], as_json: bool) -> None:
    """Runs side by side: how good they got, and what differs in their recipes."""
    found = [_find(name) for name in names]
    configs = [dict(_flat(_config(run))) for run in found]
    keys = sorted({key for config in configs for key in config})
    differing = [key for key in keys if len({str(config.get(key)) for config in configs}) > 1 and key != "name"]
    if as_json:
        documents = [
            {"id": run.id, **run.summary(), "differs": {key: config.get(key) for key in differing}}
            for run, config in zip(found, configs, strict=True)
        ]
        print_json(documents)
        return
    print_table(["run", "state", "step", "loss", "best", "at step"], [_row(run) for run in found])
    if differing:
        click.echo()
        head = ["recipe", *(str(number) for number in range(1, len(found) + 1))]
        print_table(head, [[key, *(config.get(key) for config in configs)] for key in differing])


def _config(run: Run) -> dict[str, Any]:
    import yaml

    try:
        document = yaml.safe_load((run.path / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return {}
    return document if isinstance(document, dict) else {}


def _flat(document: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in document.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
