"""Generators of jobs that gave way, kept alive in this worker child: going on costs a queue round trip, no reload."""

from __future__ import annotations

from dataclasses import dataclass

from milo.errors import NotFound
from milo.ledger import Ledger
from workers.work import RunningJob, Steps

PARKED_JOBS = 4
"""The most generators that stay alive in one worker child."""


@dataclass(frozen=True)
class _Parked:
    fence: int
    running: RunningJob
    steps: Steps


class ParkedGenerators:
    """The generators by job id, the longest parked first. Each belongs to the claim (fence) under which it last ran.

    The claim that may resume it is the very next one: the fence plus one. A higher fence means that another worker has
    had the job in between, and what the generator holds in memory is outdated.
    """

    def __init__(self, ledger: Ledger, most: int = PARKED_JOBS) -> None:
        self._ledger, self._most = ledger, most
        self._parked: dict[str, _Parked] = {}

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._parked

    def park(self, running: RunningJob, steps: Steps) -> None:
        """Keep a generator that stands at a yield. Beyond `most` of them the first parked is closed."""
        self._parked[running.id] = _Parked(running.claim.fence, running, steps)
        while len(self._parked) > self._most:
            oldest = next(iter(self._parked))
            if oldest == running.id:
                break
            self._parked.pop(oldest).steps.close()

    def resume(self, claimed: RunningJob) -> tuple[RunningJob, Steps] | None:
        """The generator of a job that has just been claimed again, and the `RunningJob` that it knows, which takes over
        the new claim. None when the job has to begin anew here."""
        parked = self._parked.pop(claimed.id, None)
        if parked is None or parked.fence != claimed.claim.fence - 1:
            return None
        parked.running.resume(claimed)
        return parked.running, parked.steps

    def close(self) -> None:
        """Close all generators, as the end of the process would."""
        while self._parked:
            self._parked.popitem()[1].steps.close()

    def forget(self, job_id: str) -> None:
        """The generator is at its end."""
        self._parked.pop(job_id, None)

    def drop_stale(self) -> None:
        """Close the generators whose job has ended meanwhile, or has gone on in another worker."""
        for job_id, parked in list(self._parked.items()):
            try:
                job = self._ledger.get(job_id)
                stale = job.final or job.fence > parked.fence + 1
            except NotFound:
                stale = True
            if stale:
                del self._parked[job_id]
                parked.steps.close()
