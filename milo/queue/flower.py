"""Flower, as `milo up` runs it: `python -m milo.queue.flower`. Its login is Milo's setting, and its refusals say so."""

from __future__ import annotations

import os
import sys
from typing import Any

from celery.bin.celery import celery
from flower.api import BaseApiHandler
from tornado.web import HTTPError

from milo.settings import Settings, get_settings

CLOSED = (
    "Flower's API answers nobody while it has no login. Set MILO_FLOWER_PASSWORD and start Milo again; then log in as"
    " milo with that password, here and on Flower's pages. What Milo itself knows of its queues: GET /api/v1/status.\n"
)


def say_which_setting() -> None:
    """Flower's API names Milo's setting where it refuses, in place of a variable of its own."""
    refuse = BaseApiHandler.prepare

    def prepare(handler: Any) -> None:
        try:
            refuse(handler)
        except HTTPError as error:
            raise HTTPError(error.status_code, CLOSED) from None

    BaseApiHandler.prepare = prepare


def set_login(settings: Settings) -> None:
    if settings.flower_password:
        os.environ.setdefault("FLOWER_BASIC_AUTH", f"milo:{settings.flower_password}")


if __name__ == "__main__":
    set_login(get_settings())
    say_which_setting()
    sys.argv = ["celery", "-A", "milo.queue", "flower", *sys.argv[1:]]
    celery()
