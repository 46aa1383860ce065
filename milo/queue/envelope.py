"""A wake-up as it stands in a queue of Redis, and Celery's event that it was sent (Flower shows it).

`app.send_task` makes the same two (a test compares them) in four round trips' worth of Python: it is most of what a
small job costs the process that submits it. Only what a wake-up needs is here: a name, one id, no options.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import time
import uuid
from collections.abc import Mapping

ORIGIN = socket.gethostname()
_NO_EMBEDS = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def message(task: str, task_id: str, job_id: str, queue: str) -> str:
    """An element of the queue's list: protocol 2 of Celery in an envelope of kombu."""
    headers: dict[str, object] = {
        "lang": "py",
        "task": task,
        "id": task_id,
        "shadow": None,
        "eta": None,
        "expires": None,
        "group": None,
        "group_index": None,
        "retries": 0,
        "timelimit": [None, None],
        "root_id": task_id,
        "parent_id": None,
        "argsrepr": repr([job_id]),
        "kwargsrepr": "{}",
        "origin": _origin(),
        "ignore_result": True,
        "replaced_task_nesting": 0,
        "stamped_headers": None,
        "stamps": {},
    }
    properties = {"correlation_id": task_id, "reply_to": "", "delivery_mode": 2}
    return _envelope([[job_id], {}, _NO_EMBEDS], headers, properties, "", queue)


def sent_event(task: str, task_id: str, job_id: str, queue: str) -> str:
    """What Celery publishes under `task.sent` for it."""
    event = {
        "hostname": _origin(),
        "utcoffset": 0.0,
        "pid": os.getpid(),
        "clock": 0,
        "uuid": task_id,
        "root_id": task_id,
        "parent_id": None,
        "name": task,
        "args": repr([job_id]),
        "kwargs": "{}",
        "retries": 0,
        "eta": None,
        "expires": None,
        "queue": queue,
        "exchange": "",
        "routing_key": queue,
        "timestamp": time.time(),
        "type": "task-sent",
    }
    return _envelope(event, {"hostname": _origin()}, {"delivery_mode": 1}, "celeryev", "task.sent")


def _envelope(
    body: object, headers: Mapping[str, object], properties: Mapping[str, object], exchange: str, routing_key: str
) -> str:
    to = {"delivery_info": {"exchange": exchange, "routing_key": routing_key}, "priority": 0}
    tag = {"body_encoding": "base64", "delivery_tag": str(uuid.uuid4())}
    return json.dumps(
        {
            "body": base64.b64encode(json.dumps(body).encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": headers,
            "properties": {**properties, **to, **tag},
        }
    )


def _origin() -> str:
    return f"gen{os.getpid()}@{ORIGIN}"
