"""The job that does nothing: it takes the way of every other job, so its time is the queue's own."""

from __future__ import annotations

import time
from collections.abc import Iterator

from workers.group import Group
from workers.work import Finished

STEP_S = 0.01
TOGETHER = 32


def ping(group: Group) -> Iterator[None]:
    """Finish each job of the group, after pretending to work if it asks for that."""
    while group.jobs or group.more(TOGETHER):
        for running in list(group.jobs.values()):
            for _ in range(round(running.payload.seconds / STEP_S)):
                time.sleep(STEP_S)
                yield
                if not group.active(running.id):
                    break
            if group.active(running.id):
                group.finish(running, Finished({"pong": True}))
        yield
