"""Work that takes long and needs no engine (copying, hashing, measuring), in a thread, so that a job can give way.

The generator yields while the thread works; a job that gave way finds the work done when it goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from milo.jobs import Progress

T = TypeVar("T")
POLL_S = 0.1
ReportProgress = Callable[..., None]
"""Called now and then with any arguments, such as (done, total)."""


class Abandoned(Exception):
    """Nobody waits for the work any more."""


def in_background(work: Callable[[ReportProgress], T], unit: str, wait: bool = True) -> Generator[Progress, None, T]:
    """What `work` returns, or raises. It is handed a function to call now and then, with any arguments: that ends it
    when the generator was closed. `wait`:
    closing waits until it has ended; what only reads and hashes may be left to notice by itself."""
    abandoned, done = threading.Event(), threading.Event()
    results: list[T] = []
    errors: list[BaseException] = []

    def report(*_: Any) -> None:
        if abandoned.is_set():
            raise Abandoned

    def run() -> None:
        try:
            results.append(work(report))
        except BaseException as error:
            errors.append(error)
        done.set()

    threading.Thread(target=run, name=unit, daemon=True).start()
    try:
        while not done.wait(POLL_S):
            yield Progress(unit=unit)
    finally:
        abandoned.set()
        if wait:
            done.wait()
    if errors:
        raise errors[0]
    return results[0]
