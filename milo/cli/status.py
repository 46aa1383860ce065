"""`milo status`: the status document for people; from the API, or from the file when the API is down."""

from __future__ import annotations

import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from milo.cli.common import colours, json_option, load_settings, make_client, print_json, seconds
from milo.cli.screen import make_console
from milo.errors import Unavailable

if TYPE_CHECKING:
    from rich.table import Table

    from milo.settings import Settings

EVERY_S = 2.0
OLD_S = 60.0
"""A document older than this was made by a beat that lives no more: it makes one every few seconds."""


@click.command()
@click.option("--watch", is_flag=True, help="Show it again every two seconds, until Ctrl-C.")
@click.option("--url", metavar="URL", help="The server. Default: MILO_URL, or the stack that runs here.")
@click.option("--api-key", metavar="KEY", help="Default: MILO_API_KEY, or that of MILO_HOME.")
@json_option
def status(watch: bool, url: str | None, api_key: str | None, as_json: bool) -> int:
    """Show training, GPU, queues and alerts. Exit code 1 while a critical alert is on, or nothing is known."""
    settings = load_settings()
    if watch and not as_json:
        return _watch(settings, url, api_key)
    document, source = fetch(settings, url, api_key)
    if as_json:
        print_json(document | {"source": source})
    else:
        _console().print(render(document, source))
    return 1 if _is_critical(document) else 0


def _watch(settings: Settings, url: str | None, api_key: str | None) -> int:
    from rich.live import Live

    with Live(console=_console(), auto_refresh=False) as live:
        while True:
            live.update(render(*fetch(settings, url, api_key)), refresh=True)
            time.sleep(EVERY_S)


def fetch(settings: Settings, url: str | None, api_key: str | None) -> tuple[dict[str, Any], str]:
    """The document and where it is from. Raises `Unavailable` when neither the API nor a file has one."""
    from milo.monitoring import store

    try:
        with make_client(settings, url, api_key, patience_s=0) as client:
            return client.status(), client.http.url
    except Unavailable as error:
        document = store.read(settings, "status")
        if document is None:
            raise Unavailable(f"{error.detail}, and no status was ever written to {settings.home}/status") from None
        return document, f"{settings.home}/status/status.json, for the API does not answer"


def _console() -> Any:
    return make_console(err=False, no_color=not colours(sys.stdout))


def _is_critical(document: dict[str, Any]) -> bool:
    return any(alert["active"] and alert["level"] == "critical" for alert in document["alerts"])


def render(document: dict[str, Any], source: str) -> Table:
    """The document as a table of names and sentences."""
    from rich.table import Table
    from rich.text import Text

    from milo.monitoring.alerts import sentence

    table = Table("", "", show_header=False, box=None, pad_edge=False)
    table.columns[1].overflow = "fold"
    for name, text in _lines(document):
        table.add_row(name, text)
    for alert in document["alerts"]:
        if alert["active"]:
            colour = "red" if alert["level"] == "critical" else "yellow"
            table.add_row(Text(alert["level"], style=colour), f"{sentence(alert)}: {alert['means']}")
    table.add_row("from", f"{source}, {document['updated_at']}")
    return table


def _lines(document: dict[str, Any]) -> list[tuple[str, str]]:
    training, gpu, found = document["training"], document["gpu"], document["eval"]["results"]
    waiting = [text for name, queue in document["queues"].items() if (text := _waiting(name, queue))]
    old = _too_old(document)
    lines = [
        ("phase", f"{document['phase']} when last heard of; no sign of life since {old}" if old else document["phase"])
    ]
    if training["run"]:
        lines.append(("run", f"{training['run']} ({training['state'] or 'not begun'})"))
        lines.append(("training", _training(training, document["phase"], old)))
        lines.append(("checkpoints", ", ".join(document["checkpoints"]) or "none yet"))
    lines.append(("eval", _evaluation(document["eval"]) if found else "none yet"))
    lines.append(("gpu", f"none: {gpu['reason']}" if gpu["reason"] else f"{gpu['name']}: {_card(gpu)}"))
    running = "runs" if document["orchestrator"] else "DOES NOT RUN"
    lines.append(("orchestrator", f"{running}: {document['orchestrator_reason']}"))
    lines.append(("fixes", str(document["auto_fixes"])))
    lines += [("paused", f"since {one['since']}: {one['seen']}") for one in document["paused"]]
    lines.append(("queues", ", ".join(waiting) or "empty"))
    lines.append(("workers", ", ".join(worker["node"] for worker in document["workers"]) or "none"))
    free, where = document["disk"]["free_bytes"], document["disk"].get("where") or "MILO_HOME"
    lines.append(("disk", "not known" if free is None else f"{free / 1e9:.1f} GB free at {where}"))
    return lines


def _too_old(document: dict[str, Any]) -> str | None:
    """When the document was made, if beat writes newer ones while it lives."""
    try:
        age_s = time.time() - datetime.fromisoformat(document["updated_at"]).timestamp()
    except (TypeError, ValueError):
        return None
    return document["updated_at"] if age_s > OLD_S else None


def _card(gpu: dict[str, Any]) -> str:
    """What the card tells; a card in a virtual machine, or a part of one, leaves out some of it."""
    parts = [f"{gpu['gpu_util_pct']} %" if gpu["gpu_util_pct"] is not None else None]
    parts.append(f"{gpu['vram_used_mb']}/{gpu['vram_total_mb']} MB" if gpu["vram_total_mb"] is not None else None)
    parts.append(f"{gpu['temp_c']} C" if gpu["temp_c"] is not None else None)
    return ", ".join(part for part in parts if part) or "tells nothing of itself"


def _evaluation(evaluation: dict[str, Any]) -> str:
    """The rates, and whose they are."""
    results, model = evaluation["results"], evaluation.get("model")
    percent = {"WER": results["wer_pct"], "CER": results["cer_pct"]}
    rates = [f"{name} {value} %" for name, value in percent.items() if value is not None]
    label = model.get("label") if isinstance(model, dict) else model
    serves = "which serves" if evaluation.get("serves") else "which does not serve"
    return f"{', '.join(rates) or 'no word error rate'} of {label}, {serves}" if label else ", ".join(rates)


def _waiting(name: str, queue: dict[str, Any]) -> str:
    """What waits in a queue; empty for nothing."""
    if queue["depth"]:
        return f"{name} {queue['depth']} (oldest {seconds(queue['oldest_s'])})"
    since = queue["oldest_s"]
    return f"{name} none ready, the first waits for its time since {seconds(since)}" if since else ""


def _training(training: dict[str, Any], phase: str, old: str | None) -> str:
    parts = ["no step yet"]
    if training["step"] is not None:
        total, pct = training["total_steps"], training["pct"]
        parts = [
            f"step {training['step']}" + (f"/{total}" if total else "") + (f" ({pct} %)" if pct is not None else "")
        ]
    if training["speed"] is not None:
        parts.append(f"{training['speed']:.2f} s/it")
    if training["eta"] and not old:
        parts.append(f"{training['eta']} to go")
    if training["last_loss"] is not None:
        parts.append(f"loss {training['last_loss']:.4f}")
    if why := training.get("waits_for"):
        parts.append(f"waits: {why}")
    elif phase == "stalled":
        parts.append(f"no sign of life since {training['last_sign_at']}")
    return ", ".join(parts)
