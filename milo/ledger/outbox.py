"""Webhooks that are to be sent: rows written in the same transaction as the state they tell of."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict, cast

from sqlalchemy import Connection, Engine, Row, and_, func, insert, or_, select, update

from milo.errors import Conflict, NotFound
from milo.jobs import iso, new_id
from milo.ledger.database import reading, writing
from milo.ledger.schema import webhook_attempts, webhooks

BACKOFF_S = (0.0, 5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 36000.0)
"""Standard Webhooks 1.0: seconds before each try; then the webhook has failed."""


class WebhookRow(TypedDict):
    """A row of `webhooks`. Times are unix seconds; `body` is the JSON text that is sent and signed."""

    id: str
    owner: str
    job_id: str | None
    batch_id: str | None
    url: str
    body: str
    state: Literal["pending", "delivered", "failed"]
    attempts: int
    created_at: float
    due_at: float
    lease_expires_at: float | None
    finished_at: float | None


class DeliveryTry(TypedDict):
    """A row of `webhook_attempts`. `error` None: delivered."""

    id: int
    webhook_id: str
    at: float
    duration_ms: float
    status: int | None
    error: str | None


class WebhookLog(WebhookRow):
    """A webhook with its delivery tries, the first one first."""

    tries: list[DeliveryTry]


def add(
    tx: Connection,
    owner: str,
    url: str,
    event: str,
    data: Mapping[str, object],
    now: float,
    *,
    job_id: str | None = None,
    batch_id: str | None = None,
) -> None:
    """Put one webhook into the outbox, due at once."""
    body = json.dumps({"type": event, "timestamp": iso(now), "data": data}, ensure_ascii=False)
    row = {"id": new_id("msg"), "owner": owner, "url": url, "body": body, "state": "pending", "attempts": 0}
    tx.execute(insert(webhooks), row | {"created_at": now, "due_at": now, "job_id": job_id, "batch_id": batch_id})


def take_due(engine: Engine, now: float, lease_s: float, limit: int) -> list[WebhookRow]:
    """Claim pending webhooks that are due; another sender leaves them alone until the lease ends."""
    lease = webhooks.c.lease_expires_at
    free = or_(lease.is_(None), lease < now, lease > now + 2 * lease_s)  # the last: the clock was set back
    due = and_(webhooks.c.state == "pending", or_(webhooks.c.due_at <= now, webhooks.c.attempts == 0), free)
    which = select(webhooks.c.id).where(due).order_by(webhooks.c.due_at).limit(limit)
    with reading(engine) as connection:
        if connection.execute(which.limit(1)).first() is None:
            return []
    take = update(webhooks).where(webhooks.c.id.in_(which), due).values(lease_expires_at=now + lease_s)
    with writing(engine) as tx:
        return [_webhook(row) for row in tx.execute(take.returning(webhooks))]


def record(
    engine: Engine,
    webhook_id: str,
    *,
    now: float,
    duration_ms: float,
    status: int | None,
    error: str | None,
    retry_at: float | None,
) -> None:
    """Log one delivery try: delivered when `error` is None, tried again at `retry_at`, or failed for good."""
    state = "delivered" if error is None else "pending" if retry_at is not None else "failed"
    values: dict[str, object] = {"state": state, "attempts": webhooks.c.attempts + 1, "lease_expires_at": None}
    values |= {"due_at": retry_at} if state == "pending" else {"finished_at": now}
    log = {"webhook_id": webhook_id, "at": now, "duration_ms": duration_ms, "status": status, "error": error}
    with writing(engine) as tx:
        tx.execute(update(webhooks).where(webhooks.c.id == webhook_id).values(values))
        tx.execute(insert(webhook_attempts), log)


def replay(engine: Engine, webhook_id: str, now: float) -> None:
    """Send a webhook again, from its first try on, with the same id. `Conflict` while it is still pending."""
    ended = and_(webhooks.c.id == webhook_id, webhooks.c.state != "pending")
    again = {"state": "pending", "attempts": 0, "due_at": now, "finished_at": None, "lease_expires_at": None}
    with writing(engine) as tx:
        if tx.execute(update(webhooks).where(ended).values(again)).rowcount == 0:
            raise Conflict(f"webhook {webhook_id} is still being delivered")


def log_of(engine: Engine, *, job_id: str | None = None, batch_id: str | None = None) -> list[WebhookLog]:
    """The webhooks of a job or batch, each with its delivery tries."""
    where = webhooks.c.job_id == job_id if job_id else webhooks.c.batch_id == batch_id
    with reading(engine) as connection:
        rows = connection.execute(select(webhooks).where(where).order_by(webhooks.c.id)).all()
        return [{**_webhook(row), "tries": _tries_of(connection, row.id)} for row in rows]


def _tries_of(connection: Connection, webhook_id: str) -> list[DeliveryTry]:
    tries = select(webhook_attempts).where(webhook_attempts.c.webhook_id == webhook_id).order_by(webhook_attempts.c.id)
    return [cast(DeliveryTry, row._asdict()) for row in connection.execute(tries)]


def _webhook(row: Row[Any]) -> WebhookRow:
    return cast(WebhookRow, row._asdict())


def get(engine: Engine, webhook_id: str) -> WebhookRow:
    """One webhook. `NotFound` if there is none."""
    with reading(engine) as connection:
        row = connection.execute(select(webhooks).where(webhooks.c.id == webhook_id)).one_or_none()
    if row is None:
        raise NotFound(f"there is no webhook {webhook_id!r}", code="unknown_webhook")
    return _webhook(row)


def backlog(engine: Engine) -> Sequence[tuple[str, int]]:
    """Webhooks by state, for health and metrics."""
    query = select(webhooks.c.state, func.count()).group_by(webhooks.c.state)
    with reading(engine) as connection:
        return [(state, count) for state, count in connection.execute(query)]
