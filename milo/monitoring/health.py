"""Is everything there that a job needs? Redis, the database, workers, webhooks, room on the disk, the card, models."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Callable
from typing import Any, Literal, TypedDict

import redis
from sqlalchemy import func, select

from milo import __version__
from milo.chat.cloud_key import usable_key
from milo.configured import configured
from milo.errors import MiloError, Unavailable
from milo.jobs import CPU_QUEUES, GPU_QUEUES
from milo.ledger import Ledger, database, outbox
from milo.ledger.database import reading
from milo.ledger.schema import webhooks
from milo.monitoring import model_health, redis_state, space
from milo.monitoring.redis_state import WorkerNote
from milo.monitoring.rules import TOO_HOT_C
from milo.queue.connection import redis_client
from milo.settings import Settings
from milo.stack.redis_server import warnings_about
from milo.storage.files import Files

log = logging.getLogger(__name__)


class CheckRequired(TypedDict):
    ok: bool
    detail: str


class Check(CheckRequired, total=False):
    """One part: whether it is well, and a sentence."""

    warnings: list[str]
    """Of Redis: settings under which it forgets."""
    full: bool
    """Of the disk: nothing can be written. It decides over `down` and is not shown."""


class Vram(TypedDict):
    """Memory of all cards, in GB (10^9 bytes). Without a card `available` is false and all else null."""

    available: bool
    allocated_gb: float | None
    """By Milo's models."""
    reserved_gb: float | None
    """By everybody, as the driver says."""
    total_gb: float | None
    free_gb: float | None


class HealthRequired(TypedDict):
    status: Literal["healthy", "degraded", "down"]
    version: str
    mode: Literal["local", "cloud"]
    """Which chat model is asked first."""
    redis_connected: bool
    models_loaded: list[str]
    vram: Vram
    checks: dict[str, Check]


class Health(HealthRequired, total=False):
    """The health document, as `GET /health` answers it."""

    alerts: list[str]
    """Names of those that are on; the API adds them."""


class LoadedModel(TypedDict):
    name: str
    bytes: int


class EnginesNote(TypedDict):
    """What a worker child has loaded."""

    models: list[LoadedModel]
    vram_allocated_bytes: int
    at: float


ENGINES_KEY = "milo:engines"
FULL_DISK_BYTES = 32 * 1024**2
"""Nothing can be accepted."""
OVERDUE_S = 600
"""A webhook that should have gone out this long ago: nobody sends."""
WARNINGS_CACHE_S = 60.0

_warnings: dict[str, tuple[float, list[str]]] = {}


def check(settings: Settings, ledger: Ledger, files: Files) -> Health:
    """The health document. `down`: no job can be accepted; `degraded`: accepted, but something is missing."""
    redis_ = _guarded(lambda: _redis(settings))
    # asking a Redis that hangs once more costs 0.5 s
    unknown: Check = {"ok": False, "detail": "unknown while Redis does not answer"}
    checks: dict[str, Check] = {
        "redis": redis_,
        "database": _guarded(lambda: _database(ledger)),
        "workers": _guarded(lambda: _workers(settings)) if redis_["ok"] else unknown,
        "webhooks": _guarded(lambda: _webhooks(ledger)),
        "storage": _guarded(lambda: _storage(settings, files)),
        "gpu": _guarded(lambda: _gpu(settings)),
        "models": _guarded(lambda: _models(settings)),
    }
    vital = (
        checks["redis"]["ok"]
        and checks["database"]["ok"]
        and not checks["storage"].pop("full", not checks["storage"]["ok"])
    )
    whole = all(one["ok"] for one in checks.values())
    engines = engines_in_memory(settings) if checks["redis"]["ok"] else []
    cloud = settings.default_mode == "cloud" and usable_key(settings.anthropic_api_key)
    return {
        "status": "down" if not vital else "healthy" if whole else "degraded",
        "version": __version__,
        "mode": "cloud" if cloud else "local",
        "redis_connected": checks["redis"]["ok"],
        "models_loaded": sorted({model["name"] for engine in engines for model in engine["models"]}),
        "vram": _vram(settings, engines),
        "checks": checks,
    }


def _vram(settings: Settings, engines: list[EnginesNote]) -> Vram:
    cards = redis_state.cards(_notes(settings)).gpus
    if not cards:
        return {"available": False, "allocated_gb": None, "reserved_gb": None, "total_gb": None, "free_gb": None}
    total, used = (sum(getattr(card, f"memory_{name}_bytes") for card in cards) for name in ("total", "used"))
    return {
        "available": True,
        "allocated_gb": _gb(sum(engine["vram_allocated_bytes"] for engine in engines)),
        "reserved_gb": _gb(used),
        "total_gb": _gb(total),
        "free_gb": _gb(total - used),
    }


def _gb(size_bytes: float) -> float:
    return round(size_bytes / 1e9, 2)


def _guarded(one: Callable[[], Check]) -> Check:
    try:
        return one()
    except MiloError as error:
        return {"ok": False, "detail": error.detail}
    except Exception as error:  # a check must never take health down with it
        log.exception("a health check failed")
        return {"ok": False, "detail": f"{type(error).__name__}; the log has the details"}


def _redis(settings: Settings) -> Check:
    client = redis_client(settings.redis_url, 0.5)
    try:
        client.ping()
    except redis.RedisError as error:
        raise Unavailable(f"Redis does not answer: {error}") from None
    at, warned = _warnings.get(settings.redis_url, (0.0, []))
    if not at or time.monotonic() - at > WARNINGS_CACHE_S:
        warned = warnings_about(settings)
        _warnings[settings.redis_url] = (time.monotonic(), warned)
    answers: Check = {"ok": True, "detail": "answers"}
    return {**answers, "warnings": warned} if warned else answers


def _database(ledger: Ledger) -> Check:
    database.ping(ledger.engine)
    return {"ok": True, "detail": f"{ledger.engine.dialect.name} answers"}


def workers_alive(settings: Settings) -> list[WorkerNote]:
    """Every worker that has shown life in the last seconds."""
    client = redis_client(settings.redis_url, 0.5)
    try:
        keys = sorted(client.scan_iter("milo:worker:*", count=1000))
        return [json.loads(note) for note in client.mget(keys) if note] if keys else []
    except redis.RedisError as error:
        raise Unavailable(f"Redis does not answer: {error}") from None


def _workers(settings: Settings) -> Check:
    alive = workers_alive(settings)
    served = {queue for worker in alive for queue in worker["queues"]}
    missing = [queue for queue in (*GPU_QUEUES, *CPU_QUEUES) if queue not in served]
    names = sorted(worker["node"] for worker in alive)
    detail = f"{len(names)} alive: {', '.join(names)}" if names else "no worker shows life"
    if missing:
        detail += f"; nobody serves {', '.join(missing)}"
    return {"ok": not missing, "detail": detail}


def engines_in_memory(settings: Settings) -> list[EnginesNote]:
    """What each living worker child has loaded."""
    client = redis_client(settings.redis_url, 0.5)
    try:
        nodes = {worker["node"] for worker in workers_alive(settings)}
        stored: dict[Any, Any] = client.hgetall(ENGINES_KEY)
        rows: dict[str, EnginesNote] = {field.decode(): json.loads(value) for field, value in stored.items()}
    except (redis.RedisError, Unavailable):
        return []
    return [row for name, row in sorted(rows.items()) if name.rsplit("/", 1)[0] in nodes]


def _webhooks(ledger: Ledger) -> Check:
    counts = dict(outbox.backlog(ledger.engine))
    oldest = select(func.min(webhooks.c.due_at)).where(webhooks.c.state == "pending")
    with reading(ledger.engine) as connection:
        due_at = connection.execute(oldest).scalar()
    late = due_at is not None and time.time() - due_at > OVERDUE_S
    detail = f"{counts.get('pending', 0)} to send, {counts.get('failed', 0)} failed"
    return {"ok": not late, "detail": f"{detail}; the oldest is overdue: nobody sends" if late else detail}


def _storage(settings: Settings, files: Files) -> Check:
    free = shutil.disk_usage(settings.home).free
    where = "MILO_HOME"  # by this name: strangers may read this, and paths have names of users in them
    if not files.is_local:
        where += f" and {settings.storage_url.split('://')[0]}://"
    if not os.access(settings.home, os.W_OK):
        return {"ok": False, "detail": "MILO_HOME is not writable", "full": True}
    detail = f"{free / 1e9:.1f} GB free at {where}"
    if free >= space.LOW_DISK_BYTES:
        return {"ok": True, "detail": detail}
    return {"ok": False, "detail": f"{detail}: too little", "full": free < FULL_DISK_BYTES}


def _gpu(settings: Settings) -> Check:
    """Fine without a card, unless the settings ask for one; a GPU worker may see it where this process does not."""
    cards = redis_state.cards(_notes(settings))
    if not cards.gpus:
        return {"ok": settings.device != "cuda", "detail": cards.reason or "no GPU"}
    hot = [card for card in cards.gpus if card.temperature_c is not None and card.temperature_c >= TOO_HOT_C]
    names = ", ".join(f"{card.name} at {card.temperature_c or 0:.0f} C" for card in cards.gpus)
    return {"ok": not hot, "detail": f"{names}: too hot, background work rests" if hot else names}


def _notes(settings: Settings) -> list[WorkerNote]:
    try:
        return workers_alive(settings)
    except Unavailable:
        return []


def _models(settings: Settings) -> Check:
    damaged = model_health.damage(settings)
    if damaged:
        models = "; ".join(f"{label}: {', '.join(wrong[:3])}" for label, wrong in sorted(damaged.items()))
        return {"ok": False, "detail": f"{models}. `milo models rollback NAME` goes back to the version before"}
    named = configured(settings)
    bad = [f"{one.variable}: {one.public}" for one in named if not one.usable]
    if bad:
        return {"ok": False, "detail": "; ".join(bad)}
    detail = f"{len(model_health.serving(settings))} of the registry, all whole; those of the settings can serve"
    later = [f"{one.variable}: {one.public}" for one in named if one.problem]
    return {"ok": True, "detail": "; but ".join([detail, *later])}
