"""The job rows, and every legal change of them. A Celery message is only a wake-up; these rows are the truth.

Each method is one transaction. A worker's right to change a running job is its fence: `claim` hands out a number that
grows with every claim, and a change that carries an old one raises `LeaseLost`, so a worker that was thought dead and
comes back can't publish anything. State, result and outgoing webhook are written together, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from milo.ledger.create import Creating
from milo.ledger.database import connect, upgrade
from milo.ledger.keys import seal_webhook_secrets
from milo.ledger.recover import Recovering
from milo.ledger.running import Renewal, Running
from milo.ledger.store import Claim, batch_data, group_key, webhook_data
from milo.settings import Settings
from milo.storage.secrets import private_home

__all__ = ["Claim", "Ledger", "Renewal", "batch_data", "group_key", "webhook_data"]


class Ledger(Creating, Running, Recovering):
    """All jobs of an installation."""

    @classmethod
    def open(cls, settings: Settings, notify: Callable[[Sequence[str]], None] | None = None) -> Ledger:
        """Connect, and bring the schema up to date."""
        private_home(settings)
        engine = connect(settings.ledger_url)
        upgrade(engine, settings)
        seal_webhook_secrets(engine, settings)
        return cls(engine, settings, notify)
