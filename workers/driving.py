"""Driving a job's generator for one slice: what is done between two steps, and what ends a slice early."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass

from milo.queue import pause
from milo.queue.depths import higher_work_waits, work_waits
from milo.settings import Settings
from workers.endings import Endings
from workers.group import Group
from workers.leases import Leases
from workers.parked import ParkedGenerators
from workers.work import NextStage, Outcome, RetryLater, Work

HIGHER_WORK_EVERY_S = 0.02
"""How often the queues of higher priority are looked at, at most."""
CANCELLED_EVERY_S = 0.1
"""How often it is asked whether a job was cancelled, at most: whoever speaks over a reply waits for its end."""

LET_PASS_AFTER_S = 1.0
"""The slice of a job that lets others of its own queue pass."""


@dataclass(frozen=True)
class GiveWay:
    """Why a slice ends before its work does. `due_in_s`: nobody goes on with it sooner; None: whoever comes first."""

    reason: str
    due_in_s: float | None = None


class Slice:
    """The rules of one slice, asked after each step: renew, cancel, pause, stop, end of the slice, give way.

    `length_s`: None for work that is not sliced. `floor`: a short turn for work that has starved, which does not give
    way to higher work: it has waited for that already. `clock` is elapsed seconds.
    """

    def __init__(
        self,
        settings: Settings,
        group: Group,
        leases: Leases,
        length_s: float | None,
        floor: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._group, self._leases = settings, group, leases
        self._length_s, self._floor, self._clock = length_s, floor, clock
        now = clock()
        self._started = self._looked_for_higher = self._looked_for_cancelled = self._renewed = now

    def after_step(self) -> GiveWay | None:
        """What has to be done between two steps is done; the reason to give way now, if there is one."""
        now, queue = self._clock(), self._group.first.job.queue
        if self._renewal_is_due(now):
            self._leases.renew(self._group)
            self._renewed = now
            if queue == pause.QUEUE and (pauses := pause.active(self._settings)):
                return GiveWay("paused", max(one.until for one in pauses) - time.time())
        if is_stopping(self._settings) or (self._length_s is not None and now - self._started >= self._length_s):
            return GiveWay("slice ended")
        if not self._floor and now - self._looked_for_higher >= HIGHER_WORK_EVERY_S:
            self._looked_for_higher = now
            if higher_work_waits(self._settings, queue) or self._equals_wait(now, queue):
                return GiveWay("gave way")
        return None

    def _equals_wait(self, now: float, queue: str) -> bool:
        patient = self._group.first.lets_equals_pass and now - self._started >= LET_PASS_AFTER_S
        return patient and work_waits(self._settings, queue)

    def _renewal_is_due(self, now: float) -> bool:
        """By the time; or at once, because a renewal is what drops the jobs that were cancelled."""
        cancelled = False
        if now - self._looked_for_cancelled >= CANCELLED_EVERY_S:
            self._looked_for_cancelled = now
            cancelled = self._leases.any_cancelled(self._group)
        return cancelled or now - self._renewed >= min(1.0, self._settings.lease_s / 3)


def is_stopping(settings: Settings) -> bool:
    """Whether the worker above this child was told to stop (`workers.tasks` leaves the note)."""
    return (settings.home / "run" / f"stop-{os.getppid()}").exists()


def single_steps(group: Group, work: Work, parked: ParkedGenerators, endings: Endings) -> Generator[None, None, None]:
    """The steps of work for one job, as if it were grouped; the job's outcome is written after the last one.

    The job's own generator is parked at each yield. When the slice ends, only this generator around it is dropped.
    """
    parked.drop_stale()
    running = group.first
    if resumed := parked.resume(running):
        running, steps = resumed
        group.first = group.jobs[running.id] = running
    else:
        steps = work.load()(running)
    while True:
        try:
            running.progress = next(steps)
        except StopIteration as end:
            outcome: Outcome = end.value
            break
        except BaseException:
            parked.forget(running.id)  # a generator that raised is at its end: another attempt needs a new one
            raise
        parked.park(running, steps)
        yield
        if not group.active(running.id):
            parked.forget(running.id)
            steps.close()
            return
    parked.forget(running.id)
    if isinstance(outcome, NextStage):
        group.leave(running)
        endings.next_stage(running, outcome)
    elif isinstance(outcome, RetryLater):
        group.leave(running)
        endings.release(running, outcome.in_s, outcome.why)
    else:
        group.finish(running, outcome)
