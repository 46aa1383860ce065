"""A training loop that is not ours, run as a generator: its thread stands still between two `next`.

Only one of the two threads runs at a time. What is global in a process (random states, torch's threads) is put back
as the training left it, whatever ran while it stood still.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import numpy as np
import torch

from trainer.loop.step import Step


class Stopped(BaseException):
    """The generator was closed: the loop unwinds. Not an Exception, so that nothing on the way catches it."""


class Gate:
    """Handed to the loop, which calls `pause` at every point where it may stand still."""

    def __init__(self) -> None:
        self._said: SimpleQueue[Any] = SimpleQueue()
        self._go = threading.Semaphore(0)
        self._stopping = False
        self.still_s = 0.0
        """Seconds the loop has stood still so far."""

    def pause(self, step: Step) -> None:
        """Say `step`, and stand still until it is asked for the next. Raises `Stopped` when nobody will."""
        if self._stopping:
            raise Stopped
        kept = _random_states()
        began = time.perf_counter()
        self._said.put(step)
        self._go.acquire()
        if self._stopping:
            raise Stopped
        self.still_s += time.perf_counter() - began
        _restore(kept)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is done in here (judging, saving) does not count as time of the training either."""
        began, still_s = time.perf_counter(), self.still_s
        try:
            yield
        finally:
            self.still_s = still_s + time.perf_counter() - began

    def drive(self, loop: Callable[[], dict[str, Any]]) -> Generator[Step, None, dict[str, Any]]:
        """Run `loop` in a thread, yield what it says, return what it returns, raise what it raises."""
        thread = threading.Thread(target=self._run, args=(loop,), name="training", daemon=True)
        thread.start()
        try:
            while True:
                said = self._said.get()
                if isinstance(said, Step):
                    yield said
                    self._go.release()
                elif isinstance(said, BaseException):
                    raise said
                else:
                    result: dict[str, Any] = said
                    return result
        finally:
            self._stopping = True
            self._go.release()
            thread.join()

    def _run(self, loop: Callable[[], dict[str, Any]]) -> None:
        try:
            self._said.put(loop())
        except BaseException as error:
            self._said.put(error)


def _random_states() -> tuple[Any, ...]:
    on_gpu = torch.cuda.get_rng_state() if torch.cuda.is_available() and torch.cuda.is_initialized() else None
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), on_gpu, torch.get_num_threads()


def _restore(kept: tuple[Any, ...]) -> None:
    python, numpy, cpu, on_gpu, threads = kept
    random.setstate(python)
    np.random.set_state(numpy)
    torch.set_rng_state(cpu)
    if on_gpu is not None:
        torch.cuda.set_rng_state(on_gpu)
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
