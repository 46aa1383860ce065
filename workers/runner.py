"""The one loop that every job runs through: claim, drive the generator, renew, give way, finish.

Knows leases, slices and retries; knows nothing of what the work is, nor of Celery.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from milo import metrics
from milo.chat.sessions import give_back
from milo.errors import Cancelled, MiloError, NotFound, Unavailable
from milo.jobs import GPU_QUEUES, Job
from milo.ledger import Claim, Ledger
from milo.queue import pause, wakeups
from milo.queue.depths import depths, higher_work_waits
from milo.settings import Settings
from milo.storage.files import Files
from workers.endings import as_milo, end_child_if_gpu_is_broken, is_redis_away, lost_is_fine, patiently
from workers.work import WORK, Finished, Group, NextStage, RetryLater, RunningJob, Work

log = logging.getLogger(__name__)

RETRY_AFTER_S = (1.0, 10.0, 60.0)
LOOK_EVERY_S = 0.02
"""How often the queues of higher priority are looked at, at most."""
ASK_EVERY_S = 0.1
"""How often it is asked whether a job was cancelled, at most: whoever speaks over a reply waits for its end."""
NOTHING = "nothing to do"
WARM_JOBS = 4
"""Suspended generators kept alive in one worker child."""


class Runner:
    """Runs jobs in one worker child. `worker` names this child, and names its next life the same."""

    def __init__(self, settings: Settings, ledger: Ledger, files: Files, worker: str) -> None:
        self.settings = settings
        self.ledger = ledger
        self.files = files
        self.worker = worker
        self._warm: dict[str, tuple[int, RunningJob, Iterator[Any]]] = {}
        self._beating = threading.Lock()
        self._group: Group | None = None
        self._pulse: threading.Thread | None = None
        self._turn: dict[str, str] = {}
        """Queue -> the owner who had the last turn."""
        self._spare: Counter[str] = Counter()
        """Queue -> jobs taken beyond the one of their message: as many messages are spare."""
        self._served: dict[str, float] = {}
        """GPU queue -> when it last had a turn, or was empty."""
        self._floor_looked = 0.0

    def run(self, job_id: str, from_queue: str | None = None) -> str:
        """Act on one wake-up from a queue. Returns a word for Celery's log: what became of it.

        The job that is run need not be `job_id`: see `Ledger.claim_next`. Without a queue it is that job and no other.
        Work of a lower priority that has waited for too long gets a short turn first.
        """
        if from_queue and (starved := self._starved(from_queue)):
            log.info("%s has waited for %g s: it gets a turn", starved, self.settings.floor_s)
            if self._act("", starved, self.settings.floor_slice_s) != NOTHING:
                self._spare[starved] += 1
        return self._act(job_id, from_queue, self.settings.slice_s)

    def _starved(self, queue_name: str) -> str | None:
        """The GPU queue below this one in which work has waited for `floor_s` without a turn."""
        now = time.monotonic()
        if queue_name not in GPU_QUEUES or now - self._floor_looked < min(1.0, self.settings.floor_s):
            return None
        self._floor_looked = now
        try:
            waiting = depths(self.settings)
        except Unavailable:
            return None
        for name in GPU_QUEUES[GPU_QUEUES.index(queue_name) + 1 :]:
            since = self._served.setdefault(name, now)
            if not waiting[name]:
                self._served[name] = now
            elif now - since >= self.settings.floor_s:
                self._served[name] = now
                return name
        return None

    def _act(self, job_id: str, from_queue: str | None, slice_s: float) -> str:
        try:
            claim = self._claim(job_id, from_queue)
        except Unavailable as error:
            log.warning("job %s stays queued: %s", job_id, error)
            return "the ledger is away"
        if claim is None:
            return NOTHING
        held = RunningJob(claim, self.settings, self.ledger, self.files)
        self._observe_wait(held.job)
        group = Group(self, held)
        work = WORK[held.job.kind, held.job.stage]
        try:
            with self._heartbeat(group):
                return self._drive(group, work, slice_s)
        except Exception as error:  # the work's own fault, not the queue's: every job of the group learns of it
            problem = as_milo(error)
            for left in list(group.held.values()):
                group.fail(left, problem)
            end_child_if_gpu_is_broken(error)
            return problem.code
        finally:
            self._served[held.job.queue] = time.monotonic()

    def _claim(self, job_id: str, from_queue: str | None) -> Claim | None:
        if from_queue is None:
            return self.ledger.claim(job_id, self.worker)
        after, spare = self._turn.get(from_queue, ""), bool(job_id) and self._spare[from_queue] > 0
        claim = self.ledger.claim_next(from_queue, job_id, self.worker, after, spare=spare)
        if claim:
            self._turn[from_queue] = claim.job.owner
            if claim.job.id != job_id:
                log.info("job %s runs in the turn of %s, by the wake-up of %s", claim.job.id, claim.job.owner, job_id)
        elif spare:
            self._spare[from_queue] -= 1
        return claim

    # --- driving ----------------------------------------------------------------------------------------------------

    def _drive(self, group: Group, work: Work, slice_s: float) -> str:
        floor = slice_s < self.settings.slice_s
        steps = work.load()(group) if work.grouped else self._single(group, work)
        start = looked = asked = renewed = time.monotonic()
        for _ in steps:
            now = time.monotonic()
            cancelled = False
            if now - asked >= ASK_EVERY_S:
                cancelled, asked = self._is_cancelled(group), now
            if cancelled or now - renewed >= min(1.0, self.settings.lease_s / 3):
                self._renew(group)
                renewed = now
                if group.first.job.queue == pause.QUEUE and (held_back := pause.active(self.settings)):
                    return self._give_way(group, steps, "paused", max(one.until for one in held_back) - time.time())
            if self._stopping() or (work.sliced and now - start >= slice_s):
                return self._give_way(group, steps, "slice ended")
            if now - looked >= LOOK_EVERY_S and not floor:
                looked = now
                if higher_work_waits(self.settings, group.first.job.queue):
                    return self._give_way(group, steps, "gave way")
        return "done"

    def _single(self, group: Group, work: Work) -> Iterator[None]:
        """Drive a `single` generator as if it were grouped; it stays warm when this one is dropped."""
        self._drop_stale()
        held = group.first
        warm = self._warm.pop(held.id, None)
        if warm and warm[0] == held.claim.fence - 1:
            _, kept, steps = warm
            kept.claim, kept.started, kept.cancelled, kept.compute_s = held.claim, held.started, False, 0.0
            group.first = group.held[held.id] = held = kept
        else:
            steps = work.load()(held)
        while True:
            try:
                held.progress = next(steps)
            except StopIteration as end:
                outcome: Finished | NextStage | RetryLater = end.value
                break
            except BaseException:
                self._warm.pop(held.id, None)  # a generator that raised is at its end: another attempt needs a new one
                raise
            self._keep_warm(held, steps)
            yield
            if held.cancelled or not group.active(held.id):
                self._warm.pop(held.id, None)
                steps.close()  # type: ignore[attr-defined]
                return
        self._warm.pop(held.id, None)
        if isinstance(outcome, NextStage):
            group.held.pop(held.id, None)
            self._pass_on(held, outcome)
        elif isinstance(outcome, RetryLater):
            group.held.pop(held.id, None)
            with lost_is_fine():
                release = partial(self.ledger.release, due_in_s=outcome.in_s, compute_s=held.spent_s())
                patiently(release, held.claim)
        else:
            group.finish(held, outcome)

    def _keep_warm(self, held: RunningJob, steps: Iterator[Any]) -> None:
        self._warm[held.id] = (held.claim.fence, held, steps)
        while len(self._warm) > WARM_JOBS:
            oldest = next(iter(self._warm))
            if oldest == held.id:
                break
            self._warm.pop(oldest)[2].close()  # type: ignore[attr-defined]

    def _drop_stale(self) -> None:
        """Let go of warm work whose job has ended meanwhile, or has gone on in another worker."""
        for job_id, (fence, _, steps) in list(self._warm.items()):
            try:
                job = self.ledger.get(job_id)
                stale = job.final or job.fence > fence + 1
            except NotFound:
                stale = True
            if stale:
                del self._warm[job_id]
                steps.close()  # type: ignore[attr-defined]

    def _give_way(self, group: Group, steps: Iterator[Any], word: str, due_in_s: float | None = None) -> str:
        if WORK[group.first.job.kind, group.first.job.stage].grouped:
            steps.close()  # type: ignore[attr-defined]
        for held in list(group.held.values()):
            group.held.pop(held.id)
            with lost_is_fine():
                release = partial(
                    self.ledger.release, compute_s=held.spent_s(), progress=held.progress, due_in_s=due_in_s
                )
                released = patiently(release, held.claim)
                if due_in_s is None:
                    wakeups.submit(released)
        return word

    # --- leases -----------------------------------------------------------------------------------------------------

    def _is_cancelled(self, group: Group) -> bool:
        try:
            return self.ledger.to_be_cancelled([held.claim for held in group.held.values()])
        except Unavailable:
            return False  # work goes on while the ledger is away

    def _renew(self, group: Group) -> None:
        held = list(group.held.values())
        moved = {one.id: one.progress for one in held if one.progress}
        try:
            renewal = self.ledger.renew([one.claim for one in held], moved)
        except Unavailable as error:
            log.warning("leases were not renewed: %s", error)
            return
        for one in held:
            if one.id in renewal.lost:
                log.warning("job %s: the lease was lost, its work is dropped", one.id)
                group.held.pop(one.id, None)
                one.cancelled = True
            elif one.id in renewal.cancelled and not one.cancelled:
                one.cancelled = True
                group.held.pop(one.id, None)
                with lost_is_fine():
                    patiently(self.ledger.cancelled, one.claim)
                    self._ended(one, "cancelled")

    @contextmanager
    def _heartbeat(self, group: Group) -> Iterator[None]:
        """Renew from a thread while a single step takes long (loading a model); the hard limit ends a hang."""
        with self._beating:
            self._group = group
            # one thread for many jobs: a small one is done before a thread has started
            if not (self._pulse and self._pulse.is_alive()):
                self._pulse = threading.Thread(target=self._beat, name="lease", daemon=True)
                self._pulse.start()
        try:
            yield
        finally:
            with self._beating:
                self._group = None

    def _beat(self) -> None:
        while True:
            time.sleep(self.settings.lease_s / 3)
            with self._beating:
                group = self._group
                if group is None:
                    self._pulse = None
                    return
            try:
                self.ledger.renew([held.claim for held in list(group.held.values())])
            except MiloError as error:
                log.warning("leases were not renewed: %s", error)

    def claim_like(self, job: Job, most: int) -> list[RunningJob]:
        claims = self.ledger.claim_like(job, self.worker, most, self._turn.get(job.queue))
        for claim in claims:
            self._observe_wait(claim.job)
            self._turn[job.queue] = claim.job.owner
        self._spare[job.queue] += len(claims)
        return [RunningJob(claim, self.settings, self.ledger, self.files) for claim in claims]

    # --- ends -------------------------------------------------------------------------------------------------------

    def finish(self, held: RunningJob, done: Finished) -> None:
        with lost_is_fine():
            patiently(
                self.ledger.finish,
                held.claim,
                done.result,
                result_file=done.file,
                audio_s=done.audio_s,
                compute_s=held.spent_s(),
                models=done.models,
                progress=held.progress,
            )
            self._ended(held, "succeeded")
            if done.audio_s:
                metrics.AUDIO_S.labels(held.job.kind).inc(done.audio_s)

    def _pass_on(self, held: RunningJob, following: NextStage) -> None:
        self.files.share_work(held.id)
        with lost_is_fine():
            release = partial(self.ledger.release, stage=following.stage, audio_s=following.audio_s)
            wakeups.submit(patiently(release, held.claim))

    def again(self, held: RunningJob, stage: str) -> None:
        if held.job.attempt >= held.job.max_attempts:
            lost = f"what was done before the stage {held.job.stage!r} was lost {held.job.attempt} times"
            return self.fail(held, MiloError(f"{lost}; do all workers share MILO_HOME?", code="work_lost"))
        with lost_is_fine():
            wakeups.submit(patiently(self.ledger.release, held.claim, stage=stage, retry=True))

    def fail(self, held: RunningJob, error: MiloError) -> None:
        job = held.job
        with lost_is_fine():
            if isinstance(error, Cancelled):
                patiently(self.ledger.cancelled, held.claim)
                self._ended(held, "cancelled")
            elif is_redis_away(error):
                log.warning("job %s: %s", job.id, error)
                patiently(self.ledger.release, held.claim, due_in_s=error.retry_after_s or 2)
            elif error.retryable and job.attempt < job.max_attempts:
                wait_s = error.retry_after_s or RETRY_AFTER_S[min(job.attempt, len(RETRY_AFTER_S)) - 1]
                log.warning("job %s: %s (attempt %d of %d)", job.id, error, job.attempt, job.max_attempts)
                patiently(self.ledger.release, held.claim, due_in_s=wait_s, retry=True)
            else:
                log.error("job %s failed: %s", job.id, error)
                patiently(self.ledger.fail, held.claim, error)
                self._ended(held, "failed")

    def _ended(self, held: RunningJob, state: str) -> None:
        job = held.job
        metrics.JOBS.labels(job.kind, state).inc()
        metrics.JOB_DURATION_S.labels(job.kind, job.priority).observe(time.monotonic() - held.started)
        self.files.drop_work(job.id)
        give_back(self.settings, job)
        if job.callback_url or job.batch_id:
            wakeups.tick("webhooks")

    def _observe_wait(self, job: Job) -> None:
        if job.fence == 1:
            metrics.JOB_WAIT_S.labels(job.kind, job.priority).observe(max(0.0, time.time() - job.created_at))

    def _stopping(self) -> bool:
        """Whether the worker above this child was told to stop (`workers.tasks` leaves the note)."""
        return (self.settings.home / "run" / f"stop-{os.getppid()}").exists()
