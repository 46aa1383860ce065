"""Work that harms its worker: pings whose length names it. For a worker with `--include tests.faults.bad_work`."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

from milo.errors import EngineError
from workers import work
from workers.group import Group
from workers.kinds import ping
from workers.work import Work

DIES, HANGS, RAISES, NO_MEMORY = 51.0, 52.0, 53.0, 54.0
NORMAL_S = 50.0
"""Pings below this are what they are elsewhere."""


def run(group: Group) -> Iterator[None]:
    """The harm of the first job that names one, before the work of its neighbours."""
    yield from ping.ping(group) if group.first.payload.seconds < NORMAL_S else _harm(group)


def _harm(group: Group) -> Iterator[None]:
    harm = group.first.payload.seconds
    yield
    if harm == DIES:
        os.kill(os.getpid(), signal.SIGKILL)
    if harm == HANGS:
        while True:
            time.sleep(1)
    if harm == NO_MEMORY:
        raise MemoryError
    raise EngineError("the engine of the test has failed")


work.WORK["ping", "ping"] = Work("tests.faults.bad_work:run", grouped=True)
