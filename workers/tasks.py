"""The Celery side: one task a kind of job, and what happens when a worker starts and stops. Beat: `beat_tasks.py`."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import threading
import time
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import redis
from billiard import current_process
from celery import Task
from celery.signals import celeryd_init, setup_logging, worker_process_init, worker_ready
from filelock import FileLock, Timeout

from milo import gpu, metrics
from milo.jobs import GPU_QUEUES
from milo.kinds import KINDS
from milo.ledger import Ledger
from milo.logs import configure_logging
from milo.monitoring import watchdog
from milo.queue import events, wakeups
from milo.queue.celery import app
from milo.queue.connection import redis_client
from milo.settings import Settings, get_settings
from milo.storage.files import Files
from milo.storage.secrets import private_files
from workers.kill_switch import end_children
from workers.runner import Runner

log = logging.getLogger(__name__)

ALIVE_TTL_S = 20
OLD_WORKER_WAIT_S = 5.0
"""How long a worker waits for the one before it to end."""
_locks: list[FileLock] = []
"""Held until the process ends, however it ends."""


@lru_cache(maxsize=1)
def get_runner() -> Runner:
    """The runner of this worker child."""
    settings = get_settings()
    ledger = Ledger.open(settings, events.publisher(settings))
    return Runner(settings, ledger, Files(settings), worker_name())


def worker_name() -> str:
    """`<node>/<slot>`: the same for a child and the one that replaces it."""
    node = os.environ.get("MILO_WORKER_NODE") or f"worker@{socket.gethostname()}"
    return f"{node}/{getattr(current_process(), 'index', 0)}"


def _register(kind: str) -> None:
    @app.task(name=wakeups.task_name(kind), bind=True, acks_late=True)
    def run(self: Task[Any, Any], job_id: str) -> str:
        """Run a job of the queue from which this came for one slice; whose turn it is, the ledger knows."""
        return get_runner().run(job_id, (self.request.delivery_info or {}).get("routing_key"))


for _kind in KINDS:
    _register(_kind)


def _stop_note(pid: int) -> Path:
    return get_settings().home / "run" / f"stop-{pid}"


@celeryd_init.connect
def _refuse_second_worker(sender: str, options: dict[str, Any], **_: Any) -> None:
    """Refuse to start beside a worker of the same name, which would lose its jobs to this one, or on a card that
    another GPU worker has: neither would know how much of its memory is free."""
    private_files()
    settings = get_settings()
    node = os.environ.get("MILO_WORKER_NODE") or sender
    _lock_or_exit(f"{node}.lock", f"a worker named {node} runs already on {settings.home}; stop it first")
    queues = options.get("queues") or ()
    queues = queues.split(",") if isinstance(queues, str) else queues
    if set(GPU_QUEUES) & set(queues) and not settings.share_card:
        device = "cpu" if settings.device == "cpu" else (os.environ.get("CUDA_VISIBLE_DEVICES") or "0").split(",")[0]
        advice = "stop it, give each worker a card of its own (CUDA_VISIBLE_DEVICES), or set MILO_SHARE_CARD=1"
        sentence = f"another GPU worker runs already on device {device} of this machine, for {settings.home}; {advice}"
        _lock_or_exit(f"card-{socket.gethostname()}-{device}.lock", sentence)


def _lock_or_exit(name: str, sentence: str) -> None:
    """Keep a lock until this process ends; end it with the sentence when another process has the lock."""
    folder = get_settings().home / "run"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / name)
    try:
        lock.acquire(timeout=OLD_WORKER_WAIT_S)
    except Timeout:
        raise SystemExit(f"milo: {sentence}") from None
    _locks.append(lock)


@setup_logging.connect
def _set_up_logging(**_: Any) -> None:
    """In place of Celery's own."""
    configure_logging(get_settings())


@worker_process_init.connect
def _child_starts(**_: Any) -> None:
    """The slot's last child is dead if there was one: take back its jobs at once, without waiting for the leases."""
    configure_logging(get_settings())
    metrics.forget_dead()
    runner = get_runner()
    taken_back = runner.ledger.reap(worker=runner.worker)
    for job in taken_back:
        wakeups.submit(job)
    watchdog.lost(runner.settings, taken_back)


@worker_ready.connect
def _ready(sender: Any, **_: Any) -> None:
    """Show that this worker lives, from a thread of its own: a broadcast would wait for the task in hand."""
    settings = get_settings()
    node = os.environ.get("MILO_WORKER_NODE") or sender.hostname
    queues = [queue.name for queue in sender.task_consumer.queues]
    arguments = (settings, node, queues, sender.pool)
    threading.Thread(target=_show_alive, args=arguments, name="alive", daemon=True).start()
    note = _stop_note(os.getpid())
    note.parent.mkdir(parents=True, exist_ok=True)
    note.unlink(missing_ok=True)
    for number in (signal.SIGTERM, signal.SIGQUIT):
        _leave_stop_note_at(number, note)


def _leave_stop_note_at(number: signal.Signals, note: Path) -> None:
    """Tell the children, which don't see the signal, to give way at their next yield point; then do as Celery does.

    Its own `worker_shutting_down` comes too late: after the time that a soft shutdown gives them.
    """
    celery_handler = signal.getsignal(number)

    def handle(*arguments: Any) -> None:
        with contextlib.suppress(OSError):
            note.touch()
        if callable(celery_handler):
            celery_handler(*arguments)

    signal.signal(number, handle)


def _show_alive(settings: Settings, node: str, queues: list[str], pool: Any) -> None:
    constants = {"node": node, "queues": queues, "pid": os.getpid()}
    has_gpu = any(name in GPU_QUEUES for name in queues)
    while True:
        document: dict[str, object] = constants | {"at": time.time()}
        if has_gpu:
            document["gpu"] = asdict(gpu.read())  # NVML is no CUDA: the parent may ask it
        with contextlib.suppress(redis.RedisError):
            redis_client(settings.redis_url).set(f"milo:worker:{node}", json.dumps(document), ex=ALIVE_TTL_S)
        try:
            end_children(settings, node, pool)
        except Exception as error:  # this thread shows that the worker is alive, and goes on
            log.warning("hung children could not be ended: %s", error)
        time.sleep(ALIVE_TTL_S / 4)
