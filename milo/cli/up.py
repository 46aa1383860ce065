"""`milo up`."""

from __future__ import annotations

import contextlib
import json
import threading
from typing import Any

import click

from milo.cli.common import colours, load_settings
from milo.cli.screen import say
from milo.errors import MiloError

OF_SERVICE = {
    "redis": "red",
    "api": "green",
    "status": "bright_green",
    "gpu": "magenta",
    "cpu": "cyan",
    "archive": "blue",
    "beat": "yellow",
    "flower": "bright_black",
}


class Printer:
    """Lines of the services on stderr, each after its service's name. The ticks of beat stay in the log files."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._coloured = colours()

    def __call__(self, name: str, line: str) -> None:
        if not line or " milo.tick." in line or "(milo.tick." in line:
            return
        colour = OF_SERVICE.get(name, "white") if self._coloured else None
        with self._lock, contextlib.suppress(OSError, ValueError):  # the terminal may be gone; the logs are not
            say(f"{name:<8}|", colour, line, err=True)


@click.command()
@click.option("--without", metavar="NAME,...", default="", help="Services to leave out: flower, beat, ...")
@click.option("--quiet", is_flag=True, help="Logs only into MILO_HOME/logs.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON on stdout when all is ready.")
def up(without: str, quiet: bool, as_json: bool) -> None:
    """Start everything on this machine and keep it running.

    Redis, the API, the status API, the workers, beat and Flower, until Ctrl-C. What dies is restarted.
    """
    from milo.stack.services import all_services
    from milo.stack.up import up as run
    from milo.storage.secrets import known_operator_key, private_files

    settings = load_settings()
    private_files()
    is_first = not known_operator_key(settings)
    left_out = [name.strip() for name in without.split(",") if name.strip()]
    known = [service.name for service in all_services(settings)]
    unknown = [name for name in left_out if name not in known]
    if unknown:
        raise click.UsageError(f"there is no service {', '.join(unknown)}; there are {', '.join(known)}")

    def ready(note: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            click.echo(json.dumps(note) if as_json else _banner(note, settings, is_first), nl=True)

    run(settings, (lambda name, line: None) if quiet else Printer(), without=left_out, on_ready=ready)


def _flower(note: dict[str, Any], settings: Any) -> str | None:
    url = note.get("flower_url")
    api = "" if settings.flower_password else " (its API, /api, opens with MILO_FLOWER_PASSWORD)"
    return f"{url}{api}" if url else None


def _key(settings: Any, is_first: bool) -> str:
    """Where the operator's key is; the key itself only when it has just been made."""
    from milo.storage.secrets import known_operator_key

    if settings.api_key:
        return "the one in MILO_API_KEY"
    kept = "kept in MILO_HOME; `milo keys show` prints it"
    return f"{known_operator_key(settings)} (made now, and {kept} again)" if is_first else kept


def _web(note: dict[str, Any], settings: Any) -> str | None:
    """A link to the web page that counts once; None when that can't be had now, for nothing else depends on it."""
    from milo.cli.web import page_url
    from milo.queue.once import make_ticket

    with contextlib.suppress(MiloError):
        ticket = make_ticket(settings.model_copy(update={"redis_url": note["redis_url"]}))
        return f"{page_url(note['url'], ticket)} (once; `milo web` makes another)"
    return None


def _banner(note: dict[str, Any], settings: Any, is_first: bool) -> str:
    rows = {
        "Web": _web(note, settings),
        "API": f"{note['url']}/api/v1/health",
        "Docs": f"{note['url']}/docs",
        "Status": note.get("status_url"),
        "Flower": _flower(note, settings),
        "Key": _key(settings, is_first),
        "Try": "milo transcribe samples --out out",
        "Stop": "Ctrl-C",
    }
    lines = [f"  {name:<7} {value}" for name, value in rows.items() if value]
    return "\n".join(["", "Milo is ready.", *lines, ""])
