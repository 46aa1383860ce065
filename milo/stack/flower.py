"""Flower behind the rules for browsers: `python -m milo.stack.flower -A milo.queue flower --port=5556`.

Flower knows neither `Host` nor `Origin`, so a page of anybody could look at the tasks of this machine, and stop them.
"""

from __future__ import annotations

import sys
from typing import Any

from celery.bin.celery import celery, main
from flower import command  # type: ignore[import-untyped]
from flower.app import Flower  # type: ignore[import-untyped]
from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler

from milo.browsers import BrowserRules
from milo.errors import MiloError
from milo.settings import get_settings


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


class Refused(RequestHandler):
    """Says why, whatever was asked."""

    def initialize(self, error: MiloError) -> None:
        self.error = error

    def check_xsrf_cookie(self) -> None:
        """Refused all the same, and by a better sentence."""

    def prepare(self) -> None:
        self.set_status(self.error.status)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(self.error.detail)


if __name__ == "__main__":
    command.Flower = GuardedFlower
    celery.add_command(command.flower)
    sys.exit(main())
