"""Webhooks by Standard Webhooks 1.0: check the address, sign, deliver, plan the next try.

A callback URL comes from a client, so it is untrusted (SSRF): the name is resolved once, private and special addresses
are refused unless the operator allowed them by name, and the connection goes to exactly the address that was checked.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import json
import logging
import random
import secrets
import socket
import time
from collections.abc import Callable
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import redis
from sqlalchemy import Engine, or_, select
from standardwebhooks import Webhook

from milo import metrics, outbox
from milo.database import reading
from milo.errors import Invalid
from milo.schema import api_keys
from milo.settings import Settings
from milo.vault import kept

log = logging.getLogger(__name__)

SENDER_S = 20.0
"""How long one sender takes up new deliveries before it lets the next tick go on."""
KEEP_S = 2.0
AT_ONCE = 64
MAX_URL = 2048
OPERATOR = "operator"
"""Owner of jobs made with the operator's key."""


class Refused(Invalid):
    code, title = "callback_refused", "The callback address is not allowed"


def new_secret() -> str:
    """`whsec_` and 32 random bytes in base64."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def operator_secret(settings: Settings) -> str:
    """The secret of the operator's own jobs: MILO_WEBHOOK_SECRET, or one made once and kept in MILO_HOME."""
    if settings.webhook_secret:
        return settings.webhook_secret
    return kept(settings, "webhook", new_secret)


def secrets_of(settings: Settings, engine: Engine, owner: str) -> list[str]:
    """The secrets that sign for an owner: one of each of their valid keys, so that keys rotate with overlap."""
    if owner == OPERATOR:
        return [operator_secret(settings)]
    alive = or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > time.time())
    query = select(api_keys.c.webhook_secret).where(api_keys.c.name == owner, api_keys.c.revoked_at.is_(None), alive)
    with reading(engine) as connection:
        return list(connection.execute(query.order_by(api_keys.c.created_at.desc())).scalars())


# --- the address ------------------------------------------------------------------------------------------------------


def check_url(settings: Settings, url: str) -> None:
    """What can be told from the text alone. Raises `Refused` with the reason."""
    if len(url) > MAX_URL:
        raise Refused(f"the callback URL has {len(url)} characters; {MAX_URL} is the most")
    try:
        parts = httpx.URL(url)  # as the one that will call it reads it
        host = parts.host  # raises for a name that is ill encoded
    except (httpx.InvalidURL, ValueError) as error:
        raise Refused(f"{url!r} is not a URL: {error}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise Refused(f"{url!r}: a callback is an http:// or https:// URL")
    if parts.port is not None and not 0 < parts.port < 65536:
        raise Refused(f"{url!r} is not a URL: a port is a number from 1 to 65535")
    if parts.userinfo:
        raise Refused("a callback URL must not carry a user name or password; the signature authenticates Milo")
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        return
    _check_address(settings, host, literal)


def _check_address(settings: Settings, host: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if address.is_global and not address.is_multicast:
        return
    for allowed in settings.webhook_allow:
        if allowed.lower() == host.lower():
            return
        try:
            if address in ipaddress.ip_network(allowed, strict=False):
                return
        except ValueError:
            continue
    raise Refused(
        f"{host} is the private or special address {address}; the operator can allow it in MILO_WEBHOOK_ALLOW"
    )


async def resolve(settings: Settings, host: str, port: int) -> str:
    """One address of the host, checked. If any of its addresses is refused, the host is."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpx.ConnectError(f"the name {host} can't be resolved: {error}") from error
    addresses = [str(entry[4][0]) for entry in found]
    for address in addresses:
        _check_address(settings, host, ipaddress.ip_address(address.split("%")[0]))
    return addresses[0]


# --- delivery ---------------------------------------------------------------------------------------------------------


def sign(webhook_id: str, body: str, secrets_: list[str], now_s: int) -> dict[str, str]:
    """The three headers; one signature for each secret."""
    # `Webhook.sign` reads the naive time as UTC
    when = datetime.fromtimestamp(now_s, timezone.utc)
    signatures = [Webhook(secret).sign(webhook_id, when, body) for secret in secrets_]
    return {"webhook-id": webhook_id, "webhook-timestamp": str(now_s), "webhook-signature": " ".join(signatures)}


async def post(settings: Settings, url: str, body: str, headers: dict[str, str]) -> tuple[int, str | None]:
    """Send once. Returns the status and the Retry-After header; the answer's body is not read.

    Raises `Refused` for an address that is not allowed, `httpx.HTTPError` and `TimeoutError` for the network's faults.
    """
    check_url(settings, url)
    parts = httpx.URL(url)
    host = parts.raw_host.decode()
    address = await resolve(settings, host, parts.port or (443 if parts.scheme == "https" else 80))
    target = parts.copy_with(host=address)
    own = {"host": parts.netloc.decode(), "content-type": "application/json", "user-agent": "milo-webhooks/1"}
    sent = headers | own
    timeout = httpx.Timeout(settings.webhook_timeout_s)
    async with httpx.AsyncClient(timeout=timeout, follow_redirects=False, trust_env=False) as client:
        extensions = {"sni_hostname": host}
        async with client.stream("POST", target, content=body, headers=sent, extensions=extensions) as response:
            return response.status_code, response.headers.get("retry-after")


async def deliver(settings: Settings, engine: Engine, webhook: dict[str, Any]) -> None:
    """One try of one webhook, written to its log."""
    started = time.monotonic()
    status: int | None = None
    error: str | None = None
    retry_after: str | None = None
    final = False
    try:
        known = secrets_of(settings, engine, webhook["owner"])
        if not known:
            raise Refused(f"the key {webhook['owner']!r} has been revoked: nothing signs for it any more")
        headers = sign(webhook["id"], webhook["body"], known, int(time.time()))
        sending = post(settings, webhook["url"], webhook["body"], headers)
        answer, retry_after = await asyncio.wait_for(sending, settings.webhook_timeout_s)
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


async def deliver_due(settings: Settings, engine: Engine, keep: Callable[[], object] = lambda: None) -> int:
    """Send what is due, many at once, so that a slow receiver holds up nobody. Returns the number of tries.

    `keep` is called every `KEEP_S` to stay the one sender; when it raises, what is on its way is the last.
    """
    running: set[asyncio.Task[None]] = set()
    count = 0
    until = time.monotonic() + SENDER_S
    kept = time.monotonic()
    while True:
        if time.monotonic() - kept > KEEP_S:
            kept = time.monotonic()
            try:
                await asyncio.to_thread(keep)
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


def body_of(webhook: dict[str, Any]) -> dict[str, Any]:
    """The JSON that was, or will be, sent."""
    parsed: dict[str, Any] = json.loads(webhook["body"])
    return parsed
