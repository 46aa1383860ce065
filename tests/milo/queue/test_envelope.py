"""A wake-up that we write ourselves is the one that Celery would have written."""

from __future__ import annotations

import base64
import json
from typing import Any

import redis

from milo.jobs import NewJob
from milo.ledger import Ledger
from milo.queue import wakeups
from milo.queue.celery import app
from milo.settings import Settings

OWN = {"delivery_tag", "origin", "hostname", "reply_to", "clock", "timestamp"}
"""Of each message, of each process, or (reply_to) of who waits for a result, which nobody does."""


def opened(raw: Any) -> Any:
    """The envelope with its body unpacked, without what differs between any two."""
    document = json.loads(raw)
    document["body"] = json.loads(base64.b64decode(document["body"]))
    return _without(document)


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without(one) for name, one in value.items() if name not in OWN} | {"names": sorted(value)}
    return value


def test_the_wake_up_and_its_event_are_those_of_celery(settings: Settings, redis_client: redis.Redis) -> None:
    ledger = Ledger.open(settings)
    job = ledger.create(NewJob(kind="ping", payload={"seconds": 0}, owner="ana", priority="batch"))
    ledger.engine.dispose()
    heard = redis_client.pubsub()  # type: ignore[no-untyped-call]
    heard.psubscribe("/*")
    assert heard.get_message(timeout=5)
    none = dict.fromkeys(("time_limit", "soft_time_limit"))  # where tasks are registered it would send theirs
    app.send_task("milo.ping", args=[job.id], queue=job.queue, task_id=f"{job.id}.1", ignore_result=True, **none)
    assert wakeups.submit(job)
    ours, celerys = (opened(raw) for raw in redis_client.lrange(job.queue, 0, -1))
    assert ours == celerys
    first, second = (heard.get_message(timeout=5) for _ in range(2))
    assert first and second and first["channel"] == second["channel"]
    assert opened(second["data"]) == opened(first["data"])
