"""`milo eval`, `milo compare` and `milo pipeline`: submit, wait, and say what came of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from milo.cli.common import json_option, print_json, server_options
from milo.cli.screen import make_console
from milo.cli.train import absolute, load, put
from milo.errors import Conflict

if TYPE_CHECKING:
    from milo.client import Milo
    from milo.client.views import Job


def _task(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """A task whose models have an error rate."""
    from milo.recipes import TASKS

    known = [name for name, rules in TASKS.items() if not rules.no_error_rate]
    if value is not None and value not in known:
        why = TASKS[value].no_error_rate if value in TASKS else f"there is no task {value!r}"
        raise click.BadParameter(f"{why}; {' and '.join(known)} can be evaluated")
    return value


@click.command("eval")
@click.argument("model")
@click.option("--data", required=True, metavar="SOURCE", help="A hub id, folder, table, `synthetic`, or a recipe.yaml.")
@click.option("--split", type=click.Choice(["validation", "test"]), help="Default: test, or what the recipe says.")
@click.option("--task", metavar="TASK", callback=_task, help="Default: whisper, or what the recipe says.")
@click.option("--max-items", type=click.IntRange(1), help="Judge on at most so many.")
@click.option("--beam-size", type=click.IntRange(1, 10))
@click.option(
    "--language",
    help="Of the speech, such as fr: its token is what the model begins with. Default: mg, or what the recipe says.",
)
@click.option("--loss", is_flag=True, help="Also the cross-entropy of the references.")
@click.option("--detach", is_flag=True, help="Print the job and do not wait.")
@json_option
@server_options
def evaluate(client: Milo, model: str, data: str, detach: bool, as_json: bool, **options: Any) -> int:
    """Judge MODEL on data: word error rate with its 95 % interval.

    For translation chrF and BLEU. What was evaluated before is not decoded again.
    """
    request = {"model": _absolute(model) if "/" in model else model, **_data_of(data)}
    if language := options.pop("language"):
        given_data = request["data"] if isinstance(request["data"], dict) else {"source": request["data"]}
        request["data"] = {**given_data, "language": language}
    task = options.pop("task")
    given = {name: value for name, value in options.items() if value is not None and value is not False}
    request["evaluation"] = request.get("evaluation", {}) | given
    if task:
        request["task"] = task
    job = _submit(client, "/evaluations", request)
    if detach:
        click.echo(job.id)
        return 0
    report = _wait(client, job).result or {}
    if as_json:
        print_json(report)
    else:
        click.echo(_report_line(report))
    return 0 if report.get("status") == "ok" else 1


def _data_of(source: str) -> dict[str, Any]:
    """The fields `data`, `evaluation` and `task` of a request."""
    if Path(source).suffix not in (".yaml", ".yml"):
        return {"data": _absolute(source)}
    from milo import recipes

    recipe = recipes.read(Path(source))
    data = recipe.data.model_copy(update={"source": _absolute(recipe.data.source)})
    found = {"data": data, "evaluation": recipe.evaluation}
    return {name: part.model_dump(mode="json") for name, part in found.items()} | {"task": recipe.task}


def _absolute(source: str) -> str:
    """The server has another working directory than the one who types."""
    return str(Path(source).absolute()) if Path(source).exists() else source


def _report_line(report: dict[str, Any]) -> str:
    told = [f"{report['model']['label']} on {report['data']['source']} ({report['data']['split']})"]
    if report["status"] != "ok":
        return f"{told[0]}: {report['status']}: {report.get('reason', '')}"
    if report.get("failed_items"):
        told.append(f"{report['failed_items']} of {report['items']} items could not be read and are left out")
    interval, decode = report["interval"], report.get("decode") or {}
    if report.get("metric") == "chrf":
        told.append(f"chrF {report['chrf']:.1f}, BLEU {report['bleu']:.1f}, exact {report['exact']:.1%}")
    else:
        told.append(
            f"WER {report['wer']:.2%}, {_interval(interval)}; raw WER {_rate(report.get('raw_wer'))};"
            f" CER {report['cer']:.2%}; {_decoded(decode)}"
        )
        told.append(
            f"{report['substitutions']} substitutions, {report['deletions']} deletions, {report['insertions']}"
            f" insertions in {report['ref_words']} words of {report['scored']} items"
        )
        if report.get("loss") is not None:
            told.append(f"loss {report['loss']:.4f} nats a token")
    return "\n".join([*told, f"rows: milo compare takes {report['key']}"])


def _decoded(decode: dict[str, Any]) -> str:
    """How: what two rates must have in common to be compared."""
    told = [
        f"{label} {decode[name]}" for label, name in (("language", "language"), ("beam", "beam_size")) if name in decode
    ]
    return ", ".join([*told, "one window an utterance"])


def _rate(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.2%}"


def _interval(interval: dict[str, Any] | None) -> str:
    if interval is None:
        return "too few speakers or utterances for an interval"
    bounds = f"95 % interval {interval['low']:.2%} to {interval['high']:.2%}"
    return f"{bounds} over {interval['units']} {interval['over']}"


@click.command("compare")
@click.argument("before")
@click.argument("after")
@json_option
@server_options
def compare(client: Milo, before: str, after: str, as_json: bool) -> int:
    """Is AFTER better than BEFORE? Both are evaluations: a report's key, or an evaluation job's id.

    A paired t-interval over speakers where they are known, else over utterances.
    """
    from milo.training.compare import compare as compared

    (one, one_rows), (two, two_rows) = (_evaluation(client, name) for name in (before, after))
    found = compared(one, one_rows, two, two_rows)
    if as_json:
        print_json(found)
    else:
        click.echo(_verdict_lines(found))
    return 1 if found["verdict"] == "insufficient_data" else 0


def _evaluation(client: Milo, name: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    document = client.http.get(f"/evaluations/{name}")
    if "key" not in document:
        if not document.get("result"):
            raise Conflict(f"{name} is {document.get('state')}; there is nothing to compare yet")
        document = document["result"]
    lines = client.http.send("GET", f"/evaluations/{document['key']}/rows").text.splitlines()
    rows = [json.loads(line) for line in lines if line]
    return document, {str(row["id"]): row for row in rows}


def _verdict_lines(found: dict[str, Any]) -> str:
    names = f"{found['before']['model']} -> {found['after']['model']}"
    if "interval" not in found:
        return f"{names}: {found['verdict']}: {found['reason']}"
    interval = found["interval"]
    return (
        f"{names}: {found['verdict']}\n{_rates(found)}"
        f"difference {found['difference']:+.2%}, 95 % interval {interval['low']:+.2%} to {interval['high']:+.2%}"
        f" ({found['items']} items, {interval['units']} {interval['over']});"
        f" probability of improvement {found['probability_of_improvement']:.1%}\n"
        f"smallest difference that this set finds with 90 % power: {found['detectable']:.2%}"
    )


def _rates(found: dict[str, Any]) -> str:
    """Both word error rates, and the raw ones beside them; empty for another metric."""
    sides = [found["before"], found["after"]]
    if any(side.get("wer") is None for side in sides):
        return ""
    (one, raw_one), (two, raw_two) = ((_rate(side["wer"]), _rate(side.get("raw_wer"))) for side in sides)
    return f"WER {one} -> {two}, raw WER {raw_one} -> {raw_two}\n"


@click.command("pipeline")
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--set", "changes", metavar="FIELD=VALUE", multiple=True, help="Such as training.max_steps=50.")
@click.option("--follow", is_flag=True, help="Stay until it has ended, and print the summary.")
@json_option
@server_options
def pipeline(client: Milo, recipe: Path, changes: tuple[str, ...], follow: bool, as_json: bool) -> int:
    """Train by a recipe, judge it, deploy it if it is not worse.

    Baseline, training, evaluation, comparison, gated deploy and summary are one job. It can be cancelled, and goes on
    after any crash.
    """
    from milo import recipes

    document = load(recipe)
    for change in changes:
        put(document, change)
    made = recipes.check(document).model_dump(mode="json")
    job = _submit(client, "/pipelines", {"recipe": absolute(made)})
    if not follow:
        print_json(job.model_dump()) if as_json else click.echo(job.id)
        return 0
    result = _wait(client, job).result or {}
    if as_json:
        print_json(result)
    else:
        click.echo(str(result.get("text", "")), nl=False)
    return 0


def _submit(client: Milo, path: str, request: dict[str, Any]) -> Job:
    from milo.client.views import Job

    return Job.model_validate(client.http.post(path, request))


def _wait(client: Milo, job: Job) -> Job:
    """Until it has ended; its progress on stderr when that is a terminal. Raises what it failed with."""
    from rich.text import Text

    with make_console().status("queued") as status:

        def told(job: Job) -> None:
            total = f" of {job.progress.total:g}" if job.progress.total else ""
            status.update(Text(f"{job.state}: {job.progress.done:g}{total} {job.progress.unit}"))

        return client.wait(job.id, on_progress=told).check()
