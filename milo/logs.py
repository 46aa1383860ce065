"""Logging set-up of Milo's processes: one line an event, to stderr. Only entry points call it."""

from __future__ import annotations

import logging
import sys

from milo.settings import Settings


def configure_logging(settings: Settings) -> None:
    """Set the root logger to one plain line an event."""
    logging.basicConfig(
        level=settings.log_level.upper(),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        force=True,
    )
    for noisy in ("httpx", "httpcore", "urllib3", "alembic", "filelock"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
