"""Webhooks by Standard Webhooks 1.0: deliver what is due in the outbox, plan the next try."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import redis
from sqlalchemy import Engine

from milo import metrics
from milo.ledger import outbox
from milo.ledger.outbox import WebhookRow
from milo.settings import Settings
from milo.webhooks.signing import secrets_of, sign
from milo.webhooks.targets import Refused, check_url, resolve

log = logging.getLogger(__name__)

SENDER_S = 20.0
"""How long one sender takes up new deliveries before it lets the next tick go on."""
RENEW_LOCK_S = 2.0
AT_ONCE = 64


async def post(settings: Settings, url: str, body: str, headers: dict[str, str]) -> tuple[int, str | None]:
    """Send once. Returns the status and the Retry-After header; the answer's body is not read.

    Raises `Refused` for an address that is not allowed, `httpx.HTTPError` and `TimeoutError` for the network's faults.
    """
    check_url(settings, url)
    parts = httpx.URL(url)
    host = parts.raw_host.decode()
    address = await resolve(settings, host, parts.port or (443 if parts.scheme == "https" else 80))
    target = parts.copy_with(host=address)
    fixed = {"host": parts.netloc.decode(), "content-type": "application/json", "user-agent": "milo-webhooks/1"}
    sent = headers | fixed
    timeout = httpx.Timeout(settings.webhook_timeout_s)
    async with httpx.AsyncClient(timeout=timeout, follow_redirects=False, trust_env=False) as client:
        extensions = {"sni_hostname": host}
        async with client.stream("POST", target, content=body, headers=sent, extensions=extensions) as response:
            return response.status_code, response.headers.get("retry-after")


async def deliver(settings: Settings, engine: Engine, webhook: WebhookRow) -> None:
    """One try of one webhook, written to its log."""
    started = time.monotonic()
    status: int | None = None
    error: str | None = None
    retry_after: str | None = None
    final = False
    try:
        secrets = secrets_of(settings, engine, webhook["owner"])
        if not secrets:
            raise Refused(f"the key {webhook['owner']!r} has been revoked: nothing signs for it any more")
        headers = sign(webhook["id"], webhook["body"], secrets, int(time.time()))
        sent = post(settings, webhook["url"], webhook["body"], headers)
        answer, retry_after = await asyncio.wait_for(sent, settings.webhook_timeout_s)
        status = answer
        if not 200 <= answer < 300:
            error = f"the receiver answered {answer}" + (": redirects are not followed" if 300 <= answer < 400 else "")
        final = answer == 410
    except Refused as refused:
        error, final = refused.detail, True
    except (TimeoutError, asyncio.TimeoutError):
        error = f"no answer within {settings.webhook_timeout_s:g} s"
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as failed:
        error = f"{type(failed).__name__}: {failed}"
    now = time.time()
    retry_at = None if final or error is None else next_try(webhook["attempts"] + 1, now, retry_after)
    metrics.WEBHOOKS.labels("delivered" if error is None else "retried" if retry_at else "failed").inc()
    duration_ms = (time.monotonic() - started) * 1000
    await asyncio.to_thread(
        outbox.record,
        engine,
        webhook["id"],
        now=now,
        duration_ms=duration_ms,
        status=status,
        error=error,
        retry_at=retry_at,
    )


def next_try(tries: int, now: float, retry_after: str | None = None) -> float | None:
    """When to try again after `tries` failures, with up to 20 % of jitter; None: give up."""
    if tries >= len(outbox.BACKOFF_S):
        return None
    wait_s = outbox.BACKOFF_S[tries] * random.uniform(1.0, 1.2)
    return now + max(wait_s, _retry_after_s(retry_after, now))


def _retry_after_s(header: str | None, now: float) -> float:
    if not header:
        return 0.0
    try:
        wait_s = float(header)
    except ValueError:
        try:
            wait_s = parsedate_to_datetime(header).timestamp() - now
        except (ValueError, TypeError, OverflowError):
            return 0.0
    return min(max(wait_s, 0.0), 86_400.0)


async def deliver_due(settings: Settings, engine: Engine, renew_lock: Callable[[], object] = lambda: None) -> int:
    """Send what is due, many at once, so that a slow receiver holds up nobody. Returns the number of tries.

    `renew_lock` is called every `RENEW_LOCK_S` to stay the only sender; when it raises, nothing further is sent.
    """
    running: set[asyncio.Task[None]] = set()
    count = 0
    until = time.monotonic() + SENDER_S
    renewed = time.monotonic()
    while True:
        if time.monotonic() - renewed > RENEW_LOCK_S:
            renewed = time.monotonic()
            try:
                await asyncio.to_thread(renew_lock)
            except redis.RedisError as error:
                log.warning("this sender of webhooks stops: %s", error)
                until = 0.0
        room = AT_ONCE - len(running) if time.monotonic() < until else 0
        lease_s = settings.webhook_timeout_s * 2
        due = await asyncio.to_thread(outbox.take_due, engine, time.time(), lease_s, room) if room else []
        running |= {asyncio.create_task(deliver(settings, engine, webhook)) for webhook in due}
        count += len(due)
        if not running:
            return count
        done, running = await asyncio.wait(running, timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()


def body_of(webhook: WebhookRow) -> dict[str, Any]:
    """The JSON that was, or will be, sent."""
    parsed: dict[str, Any] = json.loads(webhook["body"])
    return parsed
