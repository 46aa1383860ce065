"""The jobs that share the engine now. Work that is `grouped` gets one of these."""

from __future__ import annotations

from milo.errors import MiloError
from workers.claiming import Claimer
from workers.endings import Endings
from workers.work import Finished, RunningJob


class Group:
    """Jobs join by `more` and leave by finishing, failing or being cancelled."""

    def __init__(self, first: RunningJob, claimer: Claimer, endings: Endings) -> None:
        self._claimer, self._endings = claimer, endings
        self.first = first
        self.jobs: dict[str, RunningJob] = {first.id: first}

    def more(self, most: int) -> list[RunningJob]:
        """Claim up to `most` further jobs like the first one. Never beside a job on its second attempt."""
        if self.first.job.attempt > 1 or most <= 0:
            return []
        joined = self._claimer.claim_like(self.first.job, most)
        self.jobs.update({running.id: running for running in joined})
        return joined

    def active(self, job_id: str) -> bool:
        return job_id in self.jobs and not self.jobs[job_id].cancelled

    def leave(self, running: RunningJob) -> None:
        """The job is no longer this group's; its row stays as it is."""
        self.jobs.pop(running.id, None)

    def finish(self, running: RunningJob, outcome: Finished) -> None:
        self.leave(running)
        self._endings.finish(running, outcome)

    def fail(self, running: RunningJob, error: MiloError) -> None:
        self.leave(running)
        self._endings.fail(running, error)

    def back_to(self, running: RunningJob, stage: str) -> None:
        """Send a job back to an earlier stage, whose work is gone; that counts as an attempt."""
        self.leave(running)
        self._endings.back_to(running, stage)
