"""The worker's parent ends a child that hangs, when the watchdog asks for it. Knows nothing of why.

The watchdog may run on another machine, and a child that hangs in C code handles no signal: only its parent can end it.
"""

from __future__ import annotations

import json
import logging
import os
import signal
from dataclasses import dataclass
from typing import Any

from milo.ledger import Ledger
from milo.ledger.database import connect
from milo.monitoring.watchdog import kill_key
from milo.queue.connection import redis_client
from milo.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class KillRequest:
    """What the watchdog asks for: end the child in `slot` if it still runs `job` by the claim `fence`."""

    job: str
    fence: int
    slot: int


def end_children(settings: Settings, node: str, pool: Any) -> int:
    """Kill the children that the watchdog named, if they still run the job it named. Returns how many.

    `pool` is Celery's prefork pool: its processes carry `index`, the slot in the names of our workers.
    """
    ended = 0
    client = redis_client(settings.redis_url)
    while raw := client.lpop(kill_key(node)):
        request = KillRequest(**json.loads(raw))  # type: ignore[arg-type]
        worker = f"{node}/{request.slot}"
        if not _still_runs(settings, request, worker):
            continue
        for process in list(pool._pool._pool):
            if getattr(process, "index", None) == request.slot and process.pid:
                log.warning("ending child %s (process %d): job %s does not move", worker, process.pid, request.job)
                os.kill(process.pid, signal.SIGKILL)
                ended += 1
    return ended


def _still_runs(settings: Settings, request: KillRequest, worker: str) -> bool:
    ledger = Ledger(connect(settings.ledger_url), settings)
    try:
        job = ledger.get(request.job)
    finally:
        ledger.engine.dispose()
    return job.state == "running" and job.fence == request.fence and job.worker == worker
