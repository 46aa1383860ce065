"""Tickets for one use: made for somebody who is trusted, and exchanged once, within minutes, by whoever was given one.

Redis keeps their digests, so all API processes know them and a restart forgets none that still counts.
"""

from __future__ import annotations

import hashlib
import secrets

import redis

from milo.queue.connection import redis_client, redis_down
from milo.settings import Settings

TTL_S = 600
MAX_CHARS = 128


def make_ticket(settings: Settings) -> str:
    """A new ticket: 256 random bits. Raises `Unavailable` when Redis is away."""
    ticket = secrets.token_urlsafe(32)
    try:
        redis_client(settings.redis_url).set(_place(ticket), 1, ex=TTL_S)
    except redis.RedisError as error:
        raise redis_down(error) from error
    return ticket


def use_ticket(settings: Settings, ticket: str) -> bool:
    """Whether the ticket counts; from now on it does not. Raises `Unavailable` when Redis is away."""
    if not 0 < len(ticket) <= MAX_CHARS:
        return False
    try:
        return bool(redis_client(settings.redis_url).delete(_place(ticket)))  # of two at once one has deleted it
    except redis.RedisError as error:
        raise redis_down(error) from error


def _place(ticket: str) -> str:
    return f"milo:once:{hashlib.sha256(ticket.encode('utf-8', 'surrogatepass')).hexdigest()}"
