"""The Celery app, and `submit`: a message is a task name and a job id, nothing else.

The queue carries wake-ups. What to do, and whose turn it is, stands in the ledger: any message of a queue may wake any
job of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillPublishing
from functools import lru_cache
from typing import Any, ParamSpec, TypeVar

import redis
from celery import Celery
from kombu.exceptions import OperationalError
from kombu.transport import TRANSPORT_ALIASES

from milo.errors import Unavailable
from milo.jobs import GPU_QUEUES, QUEUES, Job
from milo.settings import Settings, get_settings

P = ParamSpec("P")
T = TypeVar("T")

PIPELINE = 500
"""Wake-ups in one round trip."""
PUBLISH_WAIT_S = 0.25
"""How long a request waits for its own wake-up to go out."""
PUBLISHERS = 8
"""Threads that publish for requests; they hang while Redis does."""

# by its alias: kombu goes back to the scheme of the URL when it connects again
TRANSPORT_ALIASES["redis"] = TRANSPORT_ALIASES["rediss"] = "milo.broker:Transport"
app = Celery("milo", include=["workers.tasks", "workers.ticks"])
app.config_from_object("celery_config")


def task_name(kind: str) -> str:
    return f"milo.{kind}"


def submit(job: Job) -> bool:
    """Publish the wake-up of a queued job. False when the broker can't be reached: the reconciler will do it.

    The task id is the job's id and the number of the wake-up: Flower shows for which job it was sent.
    """
    try:
        _send(job, None)
    except (OperationalError, redis.RedisError, OSError):
        return False
    return True


def submit_many(jobs: Sequence[Job]) -> int:
    """`submit` in pipelines: a third of the time for each. Returns how many went out before the broker failed."""
    sent = 0
    no_retry = {"retry_on_timeout": False}  # kombu pipelines only what nobody sends twice
    try:
        with app.connection_for_write(transport_options=no_retry) as connection:
            producer = app.amqp.Producer(connection, auto_declare=False)
            for start in range(0, len(jobs), PIPELINE):
                some = jobs[start : start + PIPELINE]
                with producer.batch(PIPELINE):
                    for job in some:
                        _send(job, producer)
                sent += len(some)
    except (OperationalError, redis.RedisError, OSError):
        return sent
    return sent


def _send(job: Job, producer: Any) -> None:
    app.send_task(
        task_name(job.kind),
        args=[job.id],
        queue=job.queue,
        task_id=f"{job.id}.{job.version}",
        ignore_result=True,
        producer=producer,
    )


def tick(name: str) -> None:
    """Run a maintenance task soon, without waiting for beat. Silent when the broker is away: beat will come."""
    try:
        app.send_task(f"milo.tick.{name}", queue="cpu", ignore_result=True, expires=5)
    except (OperationalError, redis.RedisError, OSError):
        return


def soon(publish: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
    """`publish(...)` for somebody who must not wait for a Redis that hangs: kombu gives it up after 10 to 20 s.

    None when it is not done in `PUBLISH_WAIT_S`: it goes on by itself, and if it fails the reconciler stands in.
    """
    publishing = _publishers().submit(publish, *args, **kwargs)
    try:
        return publishing.result(PUBLISH_WAIT_S)
    except StillPublishing:
        return None


@lru_cache(maxsize=1)
def _publishers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(PUBLISHERS, "publish")


@lru_cache(maxsize=4)
def redis_client(url: str, timeout_s: float = 2.0) -> redis.Redis:
    """A shared client with short time-outs: a hung Redis costs seconds, not minutes."""
    options: dict[str, Any] = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
    return redis.Redis.from_url(url, health_check_interval=25, **options)


def depths(settings: Settings) -> dict[str, int]:
    """Messages waiting in each queue. Raises `Unavailable` when Redis does not answer."""
    try:
        pipe = redis_client(settings.redis_url).pipeline(transaction=False)
        for queue in QUEUES:
            pipe.llen(queue)
        return dict(zip(QUEUES, pipe.execute(), strict=True))
    except redis.RedisError as error:
        raise Unavailable(f"Redis does not answer: {error}", code="redis_down", retry_after_s=2) from error


def higher_work_waits(settings: Settings, queue: str) -> bool:
    """Whether a GPU queue of a higher priority has messages. False when Redis does not answer: just go on."""
    above = GPU_QUEUES[: GPU_QUEUES.index(queue)] if queue in GPU_QUEUES else ()
    if not above:
        return False
    try:
        pipe = redis_client(settings.redis_url).pipeline(transaction=False)
        for name in above:
            pipe.llen(name)
        return any(pipe.execute())
    except redis.RedisError:
        return False


def ping_redis(settings: Settings) -> None:
    """Raises `Unavailable` within a second when Redis is away or hangs."""
    try:
        redis_client(settings.redis_url, 0.5).ping()
    except redis.RedisError as error:
        raise Unavailable(f"Redis does not answer: {error}", code="redis_down", retry_after_s=2) from error


def configure(settings: Settings | None = None) -> Celery:
    """The app, bound to other settings than the environment's (tests)."""
    chosen = settings or get_settings()
    app.conf.broker_url = chosen.redis_url
    return app
