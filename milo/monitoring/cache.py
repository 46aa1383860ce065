"""The status document, kept for a second, ready to send. However many ask, it is built at most once a second."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, get_args

from milo.ledger import Ledger
from milo.monitoring import document as builder
from milo.monitoring import store
from milo.monitoring.schema import Status
from milo.settings import Settings

Part = Literal["status", "gpu", "training", "eval"]
PARTS: tuple[Part, ...] = get_args(Part)
"""The whole document, and the sections that have a path of their own."""
FRESH_S = 1.0
STALE_S = 5.0
"""A page younger than this is sent while a newer one is being made; an older one is waited for."""


@dataclass(frozen=True)
class Page:
    """One document, and its parts as JSON."""

    made_at: float
    """On the monotonic clock."""
    document: Status
    bodies: dict[Part, bytes]

    @property
    def age_s(self) -> float:
        return time.monotonic() - self.made_at


class StatusCache:
    """Safe to share between threads."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self._settings, self._ledger = settings, ledger
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, "status")
        self._renewing = False
        self._page: Page | None = None

    def at_hand(self) -> Page | None:
        """A page that may be sent now, without waiting; a newer one is made meanwhile if it is not fresh."""
        page = self._page
        if page is None or page.age_s > STALE_S:
            return None
        if page.age_s > FRESH_S and not self._renewing:
            self._renewing = True
            self._thread.submit(self._renew)
        return page

    def fresh(self) -> Page:
        """A fresh page. Takes as long as building it, at most once a second."""
        with self._lock:
            if self._page is None or self._page.age_s > FRESH_S:
                before = self._page.document if self._page else store.read_status(self._settings)
                self._page = page_of(builder.build(self._settings, self._ledger, before))
            return self._page

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _renew(self) -> None:
        try:
            self.fresh()
        finally:
            self._renewing = False


def page_of(document: Status) -> Page:
    parts: dict[Part, Any] = {
        "status": document,
        "gpu": document["gpu"],
        "training": {"phase": document["phase"], **document["training"], "checkpoints": document["checkpoints"]},
        "eval": document["eval"],
    }
    bodies = {name: json.dumps(part, ensure_ascii=False).encode() + b"\n" for name, part in parts.items()}
    return Page(time.monotonic(), document, bodies)
