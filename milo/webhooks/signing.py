"""Signatures by Standard Webhooks 1.0, and the secrets that make them: the operator's, and one of each API key."""

from __future__ import annotations

import time
from datetime import datetime, timezone

from sqlalchemy import Engine, or_, select
from standardwebhooks import Webhook

from milo.jobs import OPERATOR
from milo.ledger.database import reading
from milo.ledger.keys import new_webhook_secret
from milo.ledger.schema import api_keys
from milo.settings import Settings
from milo.storage.secrets import kept
from milo.storage.vault import unseal


def operator_secret(settings: Settings) -> str:
    """The secret of the operator's own jobs: MILO_WEBHOOK_SECRET, or one made once and kept in MILO_HOME."""
    if settings.webhook_secret:
        return settings.webhook_secret
    return kept(settings, "webhook", new_webhook_secret)


def secrets_of(settings: Settings, engine: Engine, owner: str) -> list[str]:
    """The secrets that sign for an owner: one of each of their valid keys, so that keys rotate with overlap."""
    if owner == OPERATOR:
        return [operator_secret(settings)]
    alive = or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > time.time())
    query = select(api_keys.c.id, api_keys.c.webhook_secret).where(
        api_keys.c.name == owner, api_keys.c.revoked_at.is_(None), alive
    )
    with reading(engine) as connection:
        rows = connection.execute(query.order_by(api_keys.c.created_at.desc())).all()
    return [unseal(settings, row.id, row.webhook_secret) for row in rows]


def sign(webhook_id: str, body: str, secrets_: list[str], now_s: int) -> dict[str, str]:
    """The three headers; one signature for each secret."""
    # `Webhook.sign` reads the naive time as UTC
    when = datetime.fromtimestamp(now_s, timezone.utc)
    signatures = [Webhook(secret).sign(webhook_id, when, body) for secret in secrets_]
    return {"webhook-id": webhook_id, "webhook-timestamp": str(now_s), "webhook-signature": " ".join(signatures)}
