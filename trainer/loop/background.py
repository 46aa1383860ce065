"""Work that takes long and needs no engine (copying, hashing, measuring), in a thread, so that a job can give way.

The generator yields while the thread works; a job that gave way finds the work done when it goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from milo.jobs import Progress

T = TypeVar("T")
LOOK_S = 0.1
Told = Callable[..., None]


class Left(Exception):
    """Nobody waits for the work any more."""


def in_background(work: Callable[[Told], T], unit: str) -> Generator[Progress, None, T]:
    """What `work` returns, or raises. It is handed a function to call now and then, with any arguments: that ends it
    when the generator was closed. Closing waits until it has ended."""
    left, done = threading.Event(), threading.Event()
    found: list[T] = []
    errors: list[BaseException] = []

    def told(*_: Any) -> None:
        if left.is_set():
            raise Left

    def run() -> None:
        try:
            found.append(work(told))
        except BaseException as error:
            errors.append(error)
        done.set()

    threading.Thread(target=run, name=unit, daemon=True).start()
    try:
        while not done.wait(LOOK_S):
            yield Progress(unit=unit)
    finally:
        left.set()
        done.wait()
    if errors:
        raise errors[0]
    return found[0]
