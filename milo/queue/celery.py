"""The Celery app: `celery -A milo.queue` finds it here. Its configuration is `celery_config.py` at the top."""

from __future__ import annotations

from celery import Celery
from kombu.transport import TRANSPORT_ALIASES

from milo.settings import Settings, get_settings

# by its alias: kombu goes back to the scheme of the URL when it connects again
TRANSPORT_ALIASES["redis"] = TRANSPORT_ALIASES["rediss"] = "milo.queue.transport:Transport"
app = Celery("milo")
app.config_from_object("celery_config")


def configure(settings: Settings | None = None) -> Celery:
    """The app, bound to other settings than the environment's (tests)."""
    chosen = settings or get_settings()
    app.conf.broker_url = chosen.redis_url
    return app
