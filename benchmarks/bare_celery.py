"""Bare Celery doing nothing: what `queue_overhead.py` compares Milo with. Redis is broker and result backend."""

from __future__ import annotations

import os

from celery import Celery

app = Celery("bare", broker=os.environ["BARE_REDIS_URL"], backend=os.environ["BARE_REDIS_URL"])
app.conf.update(
    task_serializer="json",
    accept_content=["json"],
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    worker_concurrency=1,
    result_expires=600,
)


@app.task(name="bare.ping")
def ping(payload: dict[str, float]) -> dict[str, bool]:
    return {"pong": True}
