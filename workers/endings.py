"""How a job leaves a worker: finished, failed, cancelled, handed to its next stage, or given back to its queue.

The work behind an ending is done and must not be lost, so a ledger that can't be written is waited for. Every change
carries the fence of its claim; when another attempt owns the job by now, this one's ending counts for nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import ParamSpec, TypeVar

from milo import metrics
from milo.chat.sessions import give_back
from milo.errors import Cancelled, LeaseLost, MiloError, Unavailable
from milo.ledger import Ledger
from milo.queue import events, wakeups
from milo.settings import Settings
from milo.storage.files import Files
from workers.faults import is_redis_away
from workers.work import Finished, NextStage, RunningJob

log = logging.getLogger(__name__)

WRITE_WAIT_S = 60.0
"""How long finished work waits for a ledger that is locked or whose disk is full."""
RETRY_AFTER_S = (1.0, 10.0, 60.0)
"""Pause before the second attempt, the third, and each further one."""
REDIS_RETRY_S = 2.0

P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def ignoring_lost_lease() -> Iterator[None]:
    """Another attempt owns the job by now: log it and go on."""
    try:
        yield
    except LeaseLost as error:
        log.warning("%s", error)


def write_when_possible(change: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Make a change of the ledger, again and again while it can't be written, for at most `WRITE_WAIT_S`.

    The fence makes that safe: one that was written although the database said no is `LeaseLost` the second time.
    """
    until = time.monotonic() + WRITE_WAIT_S
    while True:
        try:
            return change(*args, **kwargs)
        except Unavailable as error:
            if time.monotonic() > until:
                raise
            log.warning("the end of a job can't be written yet: %s", error)
            time.sleep(0.5)


def retry_after_s(attempt: int) -> float:
    """How long a job waits after its attempt of this number has failed."""
    return RETRY_AFTER_S[min(attempt, len(RETRY_AFTER_S)) - 1]


class Endings:
    """The endings of the jobs of one worker child."""

    def __init__(self, settings: Settings, ledger: Ledger, files: Files) -> None:
        self._settings, self._ledger, self._files = settings, ledger, files
        self._finished: list[RunningJob] = []
        """Announced, and not yet settled."""

    def finish(self, running: RunningJob, outcome: Finished) -> None:
        """The job succeeded. `settle` has to follow."""
        if outcome.file and not outcome.synced:
            self._say_early(running, outcome)
            write_when_possible(self._files.sync_result, outcome.file)
        with ignoring_lost_lease():
            write_when_possible(
                self._ledger.finish,
                running.claim,
                outcome.result,
                result_file=outcome.file,
                audio_s=outcome.audio_s,
                compute_s=running.spent_s(),
                models=outcome.models,
                progress=running.progress,
            )
            self._finished.append(running)
            if outcome.audio_s:
                metrics.AUDIO_S.labels(running.job.kind).inc(outcome.audio_s)

    def _say_early(self, running: RunningJob, outcome: Finished) -> None:
        """A person who waits hears it now, if the job is still this worker's."""
        if running.job.priority != "realtime":
            return
        with suppress(Unavailable):
            if self._ledger.owns(running.claim):
                said = {"result": outcome.result, "result_file": outcome.file, "audio_s": outcome.audio_s}
                ended = {"models": outcome.models, "finished_at": time.time()}
                events.say_early(self._settings, running.job.model_copy(update=said | ended))

    def cancel(self, running: RunningJob) -> None:
        """Somebody cancelled the job, and its work has stopped."""
        with ignoring_lost_lease():
            write_when_possible(self._ledger.cancelled, running.claim)
            self._settle(running)

    def fail(self, running: RunningJob, error: MiloError) -> None:
        """The work raised: another attempt later if the fault may pass and attempts are left, else the job failed."""
        if isinstance(error, Cancelled):
            return self.cancel(running)
        job = running.job
        with ignoring_lost_lease():
            if is_redis_away(error):
                log.warning("job %s: %s", job.id, error)
                due_in_s = error.retry_after_s or REDIS_RETRY_S
                write_when_possible(self._ledger.release, running.claim, due_in_s=due_in_s, error=error)
            elif error.retryable and job.attempt < job.max_attempts:
                log.warning("job %s: %s (attempt %d of %d)", job.id, error, job.attempt, job.max_attempts)
                due_in_s = error.retry_after_s or retry_after_s(job.attempt)
                write_when_possible(self._ledger.release, running.claim, due_in_s=due_in_s, retry=True, error=error)
            else:
                log.error("job %s failed: %s", job.id, error)
                write_when_possible(self._ledger.fail, running.claim, error)
                self._settle(running)

    def next_stage(self, running: RunningJob, following: NextStage) -> None:
        """The stage is done: the job goes to the queue of the next one."""
        self._files.share_work(running.id)
        with ignoring_lost_lease():
            stage, audio_s = following.stage, following.audio_s
            wakeups.submit(write_when_possible(self._ledger.release, running.claim, stage=stage, audio_s=audio_s))

    def back_to(self, running: RunningJob, stage: str) -> None:
        """What an earlier stage left is gone: the job goes back to it, and that counts as an attempt."""
        job = running.job
        if job.attempt >= job.max_attempts:
            lost = f"what was done before the stage {job.stage!r} was lost {job.attempt} times"
            return self.fail(running, MiloError(f"{lost}; do all workers share MILO_HOME?", code="work_lost"))
        with ignoring_lost_lease():
            wakeups.submit(write_when_possible(self._ledger.release, running.claim, stage=stage, retry=True))

    def release(self, running: RunningJob, due_in_s: float | None = None, why: MiloError | None = None) -> None:
        """Unfinished: back to its queue, with what it has done so far. `due_in_s`: not before; None: at once.

        `why`: what it waits for; the job carries it."""
        with ignoring_lost_lease():
            released = write_when_possible(
                self._ledger.release,
                running.claim,
                compute_s=running.spent_s(),
                progress=running.progress,
                due_in_s=due_in_s,
                error=why,
            )
            if due_in_s is None:
                wakeups.submit(released)

    def settle(self) -> None:
        """Sync the disk, once for all jobs that have finished since the last time, and let go of what they needed."""
        if not self._finished:
            return
        try:
            self._ledger.synced()
        except Unavailable as error:
            log.warning("%d finished jobs may run again after a power cut: %s", len(self._finished), error)
            return  # what they need for that is kept until the next time
        finished, self._finished = self._finished, []
        for running in finished:
            self._settle(running)

    def _settle(self, running: RunningJob) -> None:
        job = running.job
        metrics.JOB_DURATION_S.labels(job.kind, job.priority).observe(time.monotonic() - running.started)
        self._files.drop_work(job.id)
        give_back(self._settings, job)
        if job.callback_url or job.batch_id:
            wakeups.run_beat_task("webhooks")
