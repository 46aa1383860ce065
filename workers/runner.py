"""The one loop that every job runs through: claim, drive the generator, renew, give way, finish.

Knows nothing of what the work is, nor of Celery. Each policy is a file of its own: `claiming`, `driving`, `parked`,
`leases`, `endings`.
"""

from __future__ import annotations

import logging

from milo.errors import Cancelled, Unavailable
from milo.ledger import Ledger
from milo.models import apart
from milo.settings import Settings
from milo.storage.files import Files
from workers.claiming import Claimer, Floor
from workers.driving import Slice, is_stopping, single_steps
from workers.endings import Endings
from workers.faults import end_child_if_gpu_is_broken, to_milo_error
from workers.group import Group
from workers.leases import Leases
from workers.parked import ParkedGenerators
from workers.work import WORK, RunningJob, Work

log = logging.getLogger(__name__)

NOTHING = "nothing to do"
LEDGER_AWAY = "the ledger is away"


class Runner:
    """Runs jobs in one worker child. `worker` names this child, and the child that replaces it.

    One wake-up is one call of `run`. It claims a job, and from then on the row is this worker's as long as it renews
    the lease. The job's work is a generator: each step is driven, and after each the rules of the slice are asked. A
    job therefore ends a call in one of three ways: its work is over and its outcome is written; its work raised, and
    every job of the group fails or is tried again; or it gives way and goes back to its queue, to be claimed anew by
    any worker. In the last case a single job's generator stays parked here: if this child claims it next it goes on
    where it stood, elsewhere it goes on from what it has saved. A worker that dies in between does nothing at all: its
    lease runs out, the reconciler queues the job again, and the raised fence makes whatever the old one still says
    void.
    """

    def __init__(self, settings: Settings, ledger: Ledger, files: Files, worker: str) -> None:
        self.settings = settings
        self.ledger = ledger
        self.files = files
        self.worker = worker
        self._claimer = Claimer(settings, ledger, files, worker)
        self._floor = Floor(settings)
        self.parked = ParkedGenerators(ledger)
        self._endings = Endings(settings, ledger, files)
        self._leases = Leases(settings, ledger, self._endings)

    def run(self, job_id: str, from_queue: str | None = None) -> str:
        """Act on one wake-up from a queue. Returns a word for Celery's log: what became of it.

        The job that is run need not be `job_id`: see `Ledger.claim_next`. Without a queue it is that job and no other.
        Work of a lower priority that has waited for too long gets a short turn first.
        """
        try:
            if from_queue and (starved := self._floor.starved(from_queue)):
                log.info("%s has waited for %g s: it gets a turn", starved, self.settings.floor_s)
                if lower := self._claimer.claim_without_message(starved):
                    self._run(lower, self.settings.floor_slice_s)
            running = self._claimer.claim(job_id, from_queue)
        except Unavailable as error:
            log.warning("job %s stays queued: %s", job_id, error)
            return LEDGER_AWAY
        return self._run(running, self.settings.slice_s) if running else NOTHING

    def _run(self, running: RunningJob, slice_s: float) -> str:
        """One slice of a claimed job."""
        group = Group(running, self._claimer, self._endings)
        work = WORK[running.job.kind, running.job.stage]
        try:
            with self._leases.renewed_in_background(group), apart.as_long_as(lambda: self._is_wanted(group)):
                return self._drive(group, work, slice_s)
        except Cancelled:  # a load was ended: those who wanted that leave, and the others begin again
            self._leases.renew(group)
            for left in list(group.jobs.values()):
                group.leave(left)
                self._endings.release(left)
            return "cancelled"
        except Exception as error:  # the work's own fault, not the queue's: every job of the group learns of it
            problem = to_milo_error(error)
            for left in list(group.jobs.values()):
                group.fail(left, problem)
            self._endings.settle()
            end_child_if_gpu_is_broken(error)
            return problem.code
        finally:
            self._endings.settle()
            self._floor.served(running.job.queue)

    def _is_wanted(self, group: Group) -> bool:
        """Whether a load that takes long is to go on: nobody cancelled, and the worker is not told to stop."""
        return not (is_stopping(self.settings) or self._leases.any_cancelled(group))

    def _drive(self, group: Group, work: Work, slice_s: float) -> str:
        steps = work.load()(group) if work.grouped else single_steps(group, work, self.parked, self._endings)
        length_s, floor = slice_s if work.sliced else None, slice_s < self.settings.slice_s
        rules = Slice(self.settings, group, self._leases, length_s, floor)
        for _ in steps:
            self._endings.settle()
            if stop := rules.after_step():
                if work.grouped:
                    steps.close()
                for running in list(group.jobs.values()):
                    group.leave(running)
                    self._endings.release(running, stop.due_in_s)
                return stop.reason
        return "done"
