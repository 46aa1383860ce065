"""Logging set-up of Milo's processes: one line an event, to stderr. Only entry points call it."""

from __future__ import annotations

import logging
import sys
import textwrap
from typing import Any

from milo.settings import Settings
from milo.terminal import visible

_SERVERS = ("uvicorn", "uvicorn.error", "celery", "celery.task")
"""Not `uvicorn.access`: whether a line is written for each request, its own option says."""


class OneLine(logging.Formatter):
    """One line an event, in which nothing that a stranger wrote drives a terminal or looks like a line of its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return visible(super().formatMessage(record), one_line=True)

    def formatException(self, ei: Any) -> str:
        return textwrap.indent(visible(super().formatException(ei)), "  ")


def configure_logging(settings: Settings) -> None:
    """Set the root logger to one plain line an event; loggers that servers set up for themselves go through it, too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    for server in _SERVERS:
        logger = logging.getLogger(server)
        logger.handlers, logger.propagate = [], True
    for noisy in ("httpx", "httpcore", "urllib3", "alembic", "filelock"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
