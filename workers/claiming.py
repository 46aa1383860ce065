"""Which job a worker child takes at a wake-up: whose turn it is, which wake-ups are spare, which queue has starved."""

from __future__ import annotations

import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence

from milo import metrics
from milo.errors import Unavailable
from milo.jobs import GPU_QUEUES, Job
from milo.ledger import Claim, Ledger
from milo.queue.depths import depths
from milo.settings import Settings
from milo.storage.files import Files
from workers.work import RunningJob

log = logging.getLogger(__name__)
MOST_TAKEN = 10_000


class Claimer:
    """Claims jobs for one worker child.

    It remembers two things for each queue. Whose turn was last: the ledger gives the next one to another owner. And
    how many jobs were taken beyond the one of their message: a batch that takes in seven further jobs leaves seven
    messages that wake nothing. They are spare, and are dropped (`claim_next(…, spare=True)`) instead of being spent on
    other jobs out of turn; those that name a job which was taken so without asking the ledger.
    """

    def __init__(self, settings: Settings, ledger: Ledger, files: Files, worker: str) -> None:
        self._settings, self._ledger, self._files = settings, ledger, files
        self._worker = worker
        self._last_owner: dict[str, str] = {}
        self._spare: Counter[str] = Counter()
        self._taken: OrderedDict[str, None] = OrderedDict()
        """Ids of jobs that were taken without their message, which has not come yet."""

    def claim(self, job_id: str, from_queue: str | None) -> RunningJob | None:
        """The job for one wake-up; None: there is nothing to do for it. Without a queue it is `job_id` and no other.

        Raises `Unavailable` while the ledger is away.
        """
        if from_queue is None:
            claim = self._ledger.claim(job_id, self._worker)
        else:
            claim = self._claim_next(job_id, from_queue)
        return self._started(claim) if claim else None

    def _claim_next(self, job_id: str, queue: str) -> Claim | None:
        spare = bool(job_id) and self._spare[queue] > 0
        if spare and job_id in self._taken:
            del self._taken[job_id]
            self._spare[queue] -= 1
            return None
        last_owner = self._last_owner.get(queue, "")
        claim = self._ledger.claim_next(queue, job_id, self._worker, last_owner, spare=spare)
        if claim:
            self._last_owner[queue] = claim.job.owner
            if claim.job.id != job_id:
                log.info("job %s runs in the turn of %s, by the wake-up of %s", claim.job.id, claim.job.owner, job_id)
        elif spare:
            self._spare[queue] -= 1
        return claim

    def claim_without_message(self, queue: str) -> RunningJob | None:
        """The next job of a queue, taken without a message of its own: that message is spare from now on."""
        job = self.claim("", queue)
        if job:
            self._note_taken(queue, [job.id])
        return job

    def claim_like(self, job: Job, most: int) -> list[RunningJob]:
        """Up to `most` further jobs that may share an engine batch with `job`."""
        claims = self._ledger.claim_like(job, self._worker, most, self._last_owner.get(job.queue))
        if claims:
            self._last_owner[job.queue] = claims[-1].job.owner
        self._note_taken(job.queue, [claim.job.id for claim in claims])
        return [self._started(claim) for claim in claims]

    def _note_taken(self, queue: str, ids: Sequence[str]) -> None:
        self._spare[queue] += len(ids)
        self._taken |= dict.fromkeys(ids)
        while len(self._taken) > MOST_TAKEN:  # their messages were lost, or went to another worker
            self._taken.popitem(last=False)

    def _started(self, claim: Claim) -> RunningJob:
        job = claim.job
        if job.fence == 1:
            metrics.JOB_WAIT_S.labels(job.kind, job.priority).observe(max(0.0, time.time() - job.created_at))
        return RunningJob(claim, self._settings, self._ledger, self._files)


class Floor:
    """Finds the GPU queue that strict priority has starved: one with work, and without a turn for `floor_s`.

    `clock` is elapsed seconds.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._clock = settings, clock
        self._served_at: dict[str, float] = {}
        """GPU queue -> when it last had a turn, or was empty."""
        self._looked_at = 0.0

    def served(self, queue: str) -> None:
        """The queue has just had a turn."""
        self._served_at[queue] = self._clock()

    def starved(self, queue: str) -> str | None:
        """The highest of the queues below `queue` that has waited for too long; it counts as served from now on.

        Looks at most once a second. None when Redis does not answer.
        """
        now, floor_s = self._clock(), self._settings.floor_s
        if queue not in GPU_QUEUES or now - self._looked_at < min(1.0, floor_s):
            return None
        self._looked_at = now
        try:
            waiting = depths(self._settings)
        except Unavailable:
            return None
        for name in GPU_QUEUES[GPU_QUEUES.index(queue) + 1 :]:
            since = self._served_at.setdefault(name, now)
            if not waiting[name]:
                self._served_at[name] = now
            elif now - since >= floor_s:
                self._served_at[name] = now
                return name
        return None
