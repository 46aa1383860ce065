"""The job that does nothing: it takes the way of every other job, so its time is the queue's own."""

from __future__ import annotations

import time
from collections.abc import Iterator

from workers.work import Finished, Group

STEP_S = 0.01
TOGETHER = 32


def run(group: Group) -> Iterator[None]:
    """Finish each job of the group, after pretending to work if it asks for that."""
    while group.held or group.more(TOGETHER):
        for held in list(group.held.values()):
            for _ in range(round(held.payload.seconds / STEP_S)):
                time.sleep(STEP_S)
                yield
                if not group.active(held.id):
                    break
            if group.active(held.id):
                group.finish(held, Finished({"pong": True}))
        yield
