"""The all-in-one local stack: every service of Milo on this machine, under one process (`milo up`).

Owns what comes before and after: free ports, one stack a home, a Redis, the environment of the children, the note
that tells other commands where the stack listens. Which processes: `milo/stack/services.py`; keeping them alive:
`milo/stack/supervisor.py`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from milo.addresses import is_loopback
from milo.configured import unusable
from milo.errors import Conflict, Invalid, Unavailable
from milo.settings import DEVELOPMENT_KEY, Settings, embedded_redis_url
from milo.stack.ports import check_ports
from milo.stack.redis_server import prepare, warnings_about
from milo.stack.services import Service, all_services, reachable
from milo.stack.supervisor import Say, Supervisor
from milo.storage.secrets import exposure, operator_key, private_home
from milo.variables import BY_UP, notices


def up(
    settings: Settings,
    say: Say,
    *,
    without: Sequence[str] = (),
    on_ready: Callable[[dict[str, Any]], None] = lambda note: None,
) -> None:
    """Run the stack until SIGINT, SIGTERM or SIGHUP. Call it from the main thread.

    `on_ready` gets the note of `note_of` once all answers. Raises `Unavailable`, `Conflict` or `Invalid` when the
    stack can't start; nothing is left running then.
    """
    stop, hurry = threading.Event(), threading.Event()
    settings, own_redis = _settled(settings)
    refuse_known_key(settings)
    refuse_open_flower(settings, without)
    with _one_per_home(settings), _signals(stop, hurry):
        operator_key(settings)
        if own_redis:
            settings = settings.model_copy(update={"redis_url": prepare(settings)})
        services = [s for s in all_services(settings) if s.name not in without and (own_redis or s.name != "redis")]
        check_ports(services)
        for sentence in [] if own_redis else warnings_about(settings):
            say("redis", f"WARNING: {sentence}")
        if open_to := exposure(settings):
            say("api", f"WARNING: {open_to}")
        for notice in notices():
            say("settings", f"{'WARNING: ' if notice.level == 'warning' else ''}{notice.text}")
        for problem in unusable(settings):
            say("models", f"WARNING: {problem}")
        supervisor = Supervisor(services, settings, _environment(settings), say, stop)
        try:
            if own_redis:
                supervisor.start(["redis"])
            _migrate(settings)
            supervisor.start([s.name for s in services if s.name != "redis"])
            if not stop.is_set():
                note = _write_note(settings, services)
                on_ready(note)
                supervisor.watch()
        finally:
            stop.set()
            _note_path(settings).unlink(missing_ok=True)
            supervisor.stop(hurry)


def _settled(settings: Settings) -> tuple[Settings, bool]:
    """The settings with an absolute home and the Redis that will be used, and whether that Redis is our own."""
    own_redis = not (settings.redis_url and "redis_url" in settings.model_fields_set)
    update: dict[str, Any] = {"home": settings.home.expanduser().absolute()}
    if own_redis:
        update["redis_url"] = embedded_redis_url(settings)
    return settings.model_copy(update=update), own_redis


def refuse_known_key(settings: Settings) -> None:
    """Raises `Invalid` when production would start with the key that everybody knows."""
    if settings.env == "production" and settings.api_key == DEVELOPMENT_KEY:
        raise Invalid(
            "MILO_ENV is production and MILO_API_KEY is the one that everybody knows: set it to a long random text, "
            "or leave it out"
        )


def refuse_open_flower(settings: Settings, without: Sequence[str] = ()) -> None:
    """Raises `Invalid` when Flower, which shows and stops tasks, would be open to other machines."""
    if "flower" not in without and not settings.flower_password and not is_loopback(settings.flower_host):
        raise Invalid(
            f"MILO_FLOWER_HOST is {settings.flower_host}, which others can reach, and Flower asks for no password: "
            "set MILO_FLOWER_PASSWORD, or leave Flower out (--without flower)"
        )


def environment(settings: Settings) -> dict[str, str]:
    """The settings that differ from the defaults' sources, as the variables that give them again to a child."""
    variables = {}
    for name in settings.model_fields_set:
        value = getattr(settings, name)
        if value is not None:
            text = ",".join(value) if isinstance(value, list) else str(value)
            variables[f"MILO_{name.upper()}"] = text
    return variables


def _environment(settings: Settings) -> dict[str, str]:
    metrics = settings.home / "run" / "metrics"
    shutil.rmtree(metrics, ignore_errors=True)  # files of processes that are gone would count for ever
    metrics.mkdir(parents=True, exist_ok=True)
    own = {"PROMETHEUS_MULTIPROC_DIR": str(metrics), "PYTHONUNBUFFERED": "1", BY_UP: "1"}
    return {**os.environ, **environment(settings), **own}


def _migrate(settings: Settings) -> None:
    """Bring the ledger's schema up to date once, before several processes ask for it."""
    from milo.ledger import Ledger  # here, because every command imports this module to find the running stack

    Ledger.open(settings)


# --- one stack a home, and where it listens -------------------------------------------------------------------------


@contextmanager
def _one_per_home(settings: Settings) -> Iterator[None]:
    folder = settings.home / "run"
    try:
        private_home(settings)
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "stack.lock")
        lock.acquire(timeout=0)
    except Timeout:
        note = note_of(settings) or {}
        at = f" (process {note['pid']}, {note['url']})" if note else ""
        raise Conflict(
            f"Milo is already up on {settings.home}{at}: stop that one first, or give this one another MILO_HOME",
            code="already_up",
        ) from None
    except OSError as error:
        raise Unavailable(f"MILO_HOME {settings.home} can't be written: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()


def is_up(settings: Settings) -> bool:
    """Whether a stack holds this home (it may still be starting)."""
    path = settings.home.expanduser() / "run" / "stack.lock"
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def _note_path(settings: Settings) -> Path:
    return settings.home.expanduser() / "run" / "stack.json"


def note_of(settings: Settings) -> dict[str, Any] | None:
    """Where the stack of this home listens: pid, url, flower_url, redis_url. None before it is ready."""
    with suppress(OSError, ValueError):
        note = json.loads(_note_path(settings).read_text())
        if isinstance(note, dict) and {"pid", "url"} <= note.keys():
            return note
    return None


def _write_note(settings: Settings, services: Sequence[Service]) -> dict[str, Any]:
    note: dict[str, Any] = {
        "pid": os.getpid(),
        "url": url_of(settings.host, settings.port),
        "redis_url": settings.redis_url,
        "services": [service.name for service in services],
    }
    if "flower" in note["services"]:
        note["flower_url"] = url_of(settings.flower_host, settings.flower_port)
    if "status" in note["services"]:
        note["status_url"] = f"{url_of(settings.status_host, settings.status_port)}/status"
    path = _note_path(settings)
    draft = path.with_suffix(".tmp")
    draft.touch(mode=0o600)  # the URL of Redis holds its password
    draft.write_text(json.dumps(note))
    os.replace(draft, path)
    return note


def url_of(host: str, port: int) -> str:
    host = reachable(host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


# --- signals --------------------------------------------------------------------------------------------------------


@contextmanager
def _signals(stop: threading.Event, hurry: threading.Event) -> Iterator[None]:
    """The first signal stops the stack in order, a second one at once."""

    def received(_number: int, _frame: Any) -> None:
        (hurry if stop.is_set() else stop).set()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, received) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
