"""A training loop that is not ours, run as a generator: its thread stands still between two `next`.

A job is a generator that gives way at each `yield`; transformers' trainer is a loop that calls back. So the loop runs
in a thread and waits in each `suspend`, the generator waits for the next `Step`, and only one of the two runs at once:
while the loop stands still, the worker may compute anything else. For the training to stay exact, what is global in a
process (the random states of Python, numpy and torch, the number of torch's threads) is noted when the loop stops and
put back before it goes on. Closing the generator makes `suspend` raise, so that the loop unwinds and its thread ends.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, TypeVar

import numpy as np
import torch

from trainer.loop.step import Step

T = TypeVar("T")


class Stopped(BaseException):
    """The generator was closed: the loop unwinds. Not an Exception, so that nothing on the way catches it."""


class ThreadGenerator:
    """Handed to the loop, which calls `suspend` at every point where it may stand still."""

    def __init__(self) -> None:
        self._messages: SimpleQueue[Any] = SimpleQueue()
        self._resume = threading.Semaphore(0)
        self._stopping = False
        self.suspended_s = 0.0
        """Seconds the loop has stood still so far."""

    def suspend(self, step: Step) -> None:
        """Hand over `step`, and stand still until it is asked for the next. Raises `Stopped` when nobody will."""
        if self._stopping:
            raise Stopped
        states = _random_states()
        began = time.perf_counter()
        self._messages.put(step)
        self._resume.acquire()
        if self._stopping:
            raise Stopped
        self.suspended_s += time.perf_counter() - began
        _restore(states)

    @contextmanager
    def off_the_clock(self) -> Iterator[None]:
        """What is done in here (evaluating, saving) does not count as time of the training either."""
        began, suspended_s = time.perf_counter(), self.suspended_s
        try:
            yield
        finally:
            self.suspended_s = suspended_s + time.perf_counter() - began

    def steps(self, loop: Callable[[], T]) -> Generator[Step, None, T]:
        """Run `loop` in a thread, yield each `Step`, return what it returns, raise what it raises."""
        thread = threading.Thread(target=self._run, args=(loop,), name="training", daemon=True)
        thread.start()
        try:
            while True:
                message = self._messages.get()
                if isinstance(message, Step):
                    yield message
                    self._resume.release()
                elif isinstance(message, BaseException):
                    raise message
                else:
                    result: T = message
                    return result
        finally:
            self._stopping = True
            self._resume.release()
            thread.join()

    def _run(self, loop: Callable[[], Any]) -> None:
        try:
            self._messages.put(loop())
        except BaseException as error:
            self._messages.put(error)


def _random_states() -> tuple[Any, ...]:
    on_gpu = torch.cuda.get_rng_state() if torch.cuda.is_available() and torch.cuda.is_initialized() else None
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), on_gpu, torch.get_num_threads()


def _restore(states: tuple[Any, ...]) -> None:
    python, numpy, cpu, on_gpu, threads = states
    random.setstate(python)
    np.random.set_state(numpy)
    torch.set_rng_state(cpu)
    if on_gpu is not None:
        torch.cuda.set_rng_state(on_gpu)
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
