"""`submit` publishes a wake-up: a message is a task name and a job id, nothing else.

The queue carries wake-ups. What to do, and whose turn it is, stands in the ledger: any message of a queue may wake any
job of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillPublishing
from functools import lru_cache
from typing import ParamSpec, TypeVar

import redis
from kombu.exceptions import OperationalError

from milo.jobs import Job
from milo.queue import envelope
from milo.queue.celery import app
from milo.queue.connection import redis_client

P = ParamSpec("P")
T = TypeVar("T")

PIPELINE = 500
"""Wake-ups in one round trip."""
PUBLISH_WAIT_S = 0.25
"""How long a request waits for its own wake-up to go out."""
PUBLISHERS = 8
"""Threads that publish for requests; they hang while Redis does."""


def task_name(kind: str) -> str:
    return f"milo.{kind}"


def submit(job: Job, within_s: float = 2.0) -> bool:
    """Publish the wake-up of a queued job. False when the broker can't be reached, or takes longer to connect or to
    answer: the reconciler will do it.

    The task id is the job's id and the number of the wake-up: Flower shows for which job it was sent.
    """
    return submit_many([job], within_s) == 1


def submit_many(jobs: Sequence[Job], within_s: float = 2.0) -> int:
    """`submit` in pipelines. Returns how many went out before the broker failed."""
    sent = 0
    try:
        client = redis_client(app.conf.broker_url, within_s)
        events = f"/{client.get_connection_kwargs().get('db') or 0}.celeryev/task.sent"
        for start in range(0, len(jobs), PIPELINE):
            chunk = jobs[start : start + PIPELINE]
            pipe = client.pipeline(transaction=False)
            for job in chunk:
                wake_up = (task_name(job.kind), f"{job.id}.{job.version}", job.id, job.queue)
                pipe.lpush(job.queue, envelope.message(*wake_up))
                pipe.publish(events, envelope.sent_event(*wake_up))
            pipe.execute()
            sent += len(chunk)
    except (redis.RedisError, OSError):
        return sent
    return sent


def run_beat_task(name: str) -> None:
    """Run a task of beat now, before its period. Does nothing when the broker is away: beat runs it in time."""
    try:
        app.send_task(f"milo.tick.{name}", queue="cpu", ignore_result=True, expires=5)
    except (OperationalError, redis.RedisError, OSError):
        return


def in_background(publish: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
    """Call `publish(...)` in a thread, for a caller who must not wait for a Redis that hangs (kombu waits 10 to 20 s).

    None when it is not done in `PUBLISH_WAIT_S`: the thread goes on.
    """
    publishing = _publishers().submit(publish, *args, **kwargs)
    try:
        return publishing.result(PUBLISH_WAIT_S)
    except StillPublishing:
        return None


@lru_cache(maxsize=1)
def _publishers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(PUBLISHERS, "publish")
