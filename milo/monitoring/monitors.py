"""Monitors: what a page shows, a plugin each. One that hangs, raises or returns no number costs the others nothing.

The status document, the card, the training and the systems (`milo.monitoring.systems`) are built in; other packages
add their own by an entry point in the group `milo.monitors`: `name = module:function`, which is called with the
settings and returns what JSON can say.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from typing import Any

from milo.errors import MiloError
from milo.jobs import iso
from milo.monitoring import store, systems
from milo.monitoring.schema import Status
from milo.monitoring.systems import MONITORED, Monitored
from milo.settings import Settings

GROUP = "milo.monitors"
PATIENCE_S = 2.0
FRESH_S = 1.0
Plugin = Callable[[], Any]


@dataclass(frozen=True)
class Answer:
    """What one monitor shows."""

    success: bool
    data: Any
    plugin: str
    made_at: float
    """In unix seconds."""
    age_s: float | None = None
    """Of what is shown; None: as old as the answer."""
    stale: bool = False
    error: str = ""
    cached: bool = False

    def document(self, now: float) -> dict[str, Any]:
        return {
            "success": self.success,
            "data": self.data,
            "cached": self.cached,
            "timestamp": iso(self.made_at),
            "plugin": self.plugin,
            "age_s": round((self.age_s or 0.0) + max(0.0, now - self.made_at), 1),
            "stale": self.stale,
            **({"error": self.error} if self.error else {}),
        }

    @property
    def etag(self) -> str:
        """Of what it shows, whenever that was."""
        told = json.dumps([self.success, self.data, self.stale, self.error], sort_keys=True)
        return f'"{hashlib.sha256(told.encode()).hexdigest()[:32]}"'


class Monitors:
    """All monitors of this process. Safe to share between threads."""

    def __init__(
        self,
        settings: Settings,
        status: Callable[[], Status],
        more: Mapping[str, Plugin] | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """`more`: other plugins; None: those of the installed packages."""
        self._settings, self._patience_s = settings, patience_s
        built_in: dict[str, Plugin] = {
            "status": status,
            "training": lambda: status()["training"] | {"checkpoints": status()["checkpoints"]},
            "gpu": lambda: status()["gpu"],
            "health": lambda: store.read(settings, "health") or {},
            **{one.path: partial(systems.read, settings, one) for one in MONITORED},
        }
        self._plugins = {**(_installed(settings) if more is None else more), **built_in}
        self._threads = ThreadPoolExecutor(max(4, len(self._plugins)), "monitor")
        self._lock = threading.Lock()
        self._asked: dict[str, Future[Any]] = {}
        self._kept: dict[str, Answer] = {}

    @property
    def names(self) -> list[str]:
        return sorted([*self._plugins, "sources", "unified"])

    def ask(self, name: str) -> Answer:
        """Waits for a plugin at most as long as one may. `name` is one of `names`."""
        if name in ("sources", "unified"):
            return self._together(name)
        kept = self._kept.get(name)
        if kept and time.time() - kept.made_at < FRESH_S:
            return Answer(**{**vars(kept), "cached": True})
        answer = self._answer(name, self._start(name), self._patience_s)
        self._kept[name] = answer
        return answer

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _start(self, name: str) -> Future[Any]:
        """One that hangs is not asked again until it comes back."""
        with self._lock:
            future = self._asked.get(name)
            if future is None or future.done():
                future = self._asked[name] = self._threads.submit(self._plugins[name])
            return future

    def _answer(self, name: str, future: Future[Any], patience_s: float) -> Answer:
        at = time.time()
        try:
            found = future.result(patience_s)
            if isinstance(found, systems.Reading):
                return Answer(not found.problem, found.document, name, at, found.age_s, found.stale, found.problem)
            json.dumps(found, allow_nan=False)
        except Late:
            return Answer(False, None, name, at, error=f"{name} did not answer within {self._patience_s:g} s")
        except MiloError as error:
            return Answer(False, None, name, at, error=error.detail)
        except Exception as error:  # whatever is wrong with one of them
            return Answer(False, None, name, at, error=f"{name} can't be shown: {type(error).__name__}: {error}")
        return Answer(True, found, name, at)

    def _together(self, name: str) -> Answer:
        """All of them at once: they have two seconds together."""
        at = time.time()
        asked = {one: self._start(one) for one in self._plugins}
        answers = {
            one: self._answer(one, future, max(0.0, at + self._patience_s - time.time()))
            for one, future in asked.items()
        }
        if name == "unified":
            return Answer(True, {one: answer.document(at) for one, answer in answers.items()}, name, at)
        rows = [_source(one, answers[one.path]) for one in MONITORED]
        of_systems = {one.path for one in MONITORED}
        rows += [_source(None, answer) for one, answer in answers.items() if one not in of_systems]
        return Answer(True, rows, name, at)


def _source(one: Monitored | None, answer: Answer) -> dict[str, Any]:
    document = answer.data if one and isinstance(answer.data, dict) else {}
    return {
        "plugin": answer.plugin,
        "system": one.name if one else None,
        "file": f"{one.file}.json" if one else None,
        "success": answer.success,
        "state": document.get("state"),
        "reason": document.get("reason") or answer.error or None,
        "age_s": answer.age_s,
        "stale": answer.stale,
    }


def _installed(settings: Settings) -> dict[str, Plugin]:
    return {entry.name: partial(_call, entry, settings) for entry in entry_points(group=GROUP)}


def _call(entry: Any, settings: Settings) -> Any:
    return entry.load()(settings)
