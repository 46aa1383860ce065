"""Flower, as `milo up` runs it: `python -m milo.stack.flower --port=5556`.

Its login is Milo's setting, and its refusals say so. Flower knows neither `Host` nor `Origin`, so without the rules for
browsers a page of anybody could look at the tasks of this machine, and stop them.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from celery.bin.celery import celery, main
from flower import command
from flower.api import BaseApiHandler
from flower.app import Flower
from tornado.httputil import HTTPServerRequest
from tornado.web import HTTPError, RequestHandler

from milo.browsers import BrowserRules
from milo.errors import MiloError
from milo.settings import Settings, get_settings

CLOSED = (
    "Flower's API answers nobody while it has no login. Set MILO_FLOWER_PASSWORD and start Milo again; then log in as"
    " milo with that password, here and on Flower's pages. What Milo itself knows of its queues: GET /api/v1/status.\n"
)


class GuardedFlower(Flower):  # type: ignore[misc]
    """Flower's application; what the rules refuse reaches none of its pages."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        settings = get_settings()
        self._rules = BrowserRules(settings, settings.flower_host)

    def find_handler(self, request: HTTPServerRequest, **named: Any) -> Any:
        headers = {name.lower(): request.headers.get_list(name) for name in request.headers}
        try:
            self._rules.check(request.method, headers)
        except MiloError as error:
            return self.get_handler_delegate(request, Refused, {"error": error})
        return super().find_handler(request, **named)


class Refused(RequestHandler):  # type: ignore[misc]
    """Says why, whatever was asked."""

    def initialize(self, error: MiloError) -> None:
        self.error = error

    def check_xsrf_cookie(self) -> None:
        """Refused all the same, and by a better sentence."""

    def prepare(self) -> None:
        self.set_status(self.error.status)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(self.error.detail)


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
    command.Flower = GuardedFlower
    celery.add_command(command.flower)
    sys.argv = ["celery", "-A", "milo.queue", "flower", *sys.argv[1:]]
    sys.exit(main())
