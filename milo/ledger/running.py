"""What a worker does with a job that it has claimed: renew, release, finish, fail. Each change carries the fence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import select, update

from milo.errors import LeaseLost, MiloError
from milo.jobs import Job, Progress
from milo.kinds import queue_for
from milo.ledger.claim import Claiming
from milo.ledger.database import reading, synced, writing
from milo.ledger.schema import jobs
from milo.ledger.store import LONGEST_WAIT_S, Changes, Claim, job_from, owned_by


@dataclass
class Renewal:
    """What a renewal has learned."""

    cancelled: list[str] = field(default_factory=list)
    """Ids of jobs that somebody wants cancelled."""
    lost: list[str] = field(default_factory=list)
    """Ids of jobs that belong to another attempt now."""


class Running(Claiming):
    """What the runner calls."""

    def renew(self, claims: Iterable[Claim], progress: Mapping[str, Progress] | None = None) -> Renewal:
        """Extend the leases, publish progress, and learn which jobs were cancelled or lost."""
        result = Renewal()
        moved: list[Job] = []
        steps = progress or {}
        with writing(self.engine, durable=False) as tx:
            for claim in claims:
                values: Changes = {"lease_expires_at": self.clock() + self.settings.lease_s}
                if step := steps.get(claim.job.id):
                    values |= _columns_of(step)
                    values["version"] = jobs.c.version + 1
                row = tx.execute(update(jobs).where(*owned_by(claim)).values(values).returning(jobs)).one_or_none()
                if row is None:
                    result.lost.append(claim.job.id)
                    continue
                if step:
                    moved.append(job_from(row))
                if row.cancel_requested:
                    result.cancelled.append(claim.job.id)
        self.changed(moved)
        return result

    def to_be_cancelled(self, claims: Iterable[Claim]) -> bool:
        """Whether somebody wants one of these jobs cancelled. Only reads, so it may be asked often."""
        ids = [claim.job.id for claim in claims]
        with reading(self.engine) as connection:
            wanted = select(jobs.c.id).where(jobs.c.id.in_(ids), jobs.c.cancel_requested.is_(True)).limit(1)
            return connection.execute(wanted).first() is not None

    def owns(self, claim: Claim) -> bool:
        """Whether no other attempt has the job yet. Only reads."""
        with reading(self.engine) as connection:
            return connection.execute(select(jobs.c.id).where(*owned_by(claim))).first() is not None

    def release(
        self,
        claim: Claim,
        *,
        stage: str | None = None,
        audio_s: float | None = None,
        compute_s: float = 0,
        due_in_s: float | None = None,
        retry: bool = False,
        progress: Progress | None = None,
        error: MiloError | None = None,
    ) -> Job:
        """Give the job back to the queue: a slice ended, the next stage follows, or (`retry`) another attempt does.

        `error`: why the last attempt failed; the job carries it until it succeeds, or fails for another reason.

        A job that somebody cancelled meanwhile ends as cancelled instead: nobody would claim it again.
        """
        now = self.clock()
        job = claim.job
        values: Changes = {
            "state": "queued",
            "worker": None,
            "lease_expires_at": None,
            "slices": job.slices + 1,
            "attempt": job.attempt + (1 if retry else 0),
            "compute_s": job.compute_s + compute_s,
            "due_at": None if due_in_s is None else now + min(due_in_s, LONGEST_WAIT_S),
            "published_at": now if due_in_s is None else None,
        }
        if stage:
            values |= {"stage": stage, "queue": queue_for(job.kind, stage, job.priority)}
            values["attempt"] = job.attempt + 1 if retry else 1
        if audio_s is not None:
            values["audio_s"] = audio_s
        if progress:
            values |= _columns_of(progress)
        if error:
            values["error"] = error.problem(f"/api/v1/jobs/{job.id}")
        with writing(self.engine, durable=False) as tx:  # a power cut takes it back: the lease ends, as with any loss
            released = self.move_claimed(tx, claim, values, unless_cancelled=True)
        if released is None:
            return self._end(claim, {"state": "cancelled"})
        self.changed([released])
        return released

    def saved(self, claim: Claim) -> Claim:
        """The job has saved durable progress: lost workers are counted anew from here. Raises `LeaseLost`."""
        with writing(self.engine) as tx:
            row = tx.execute(update(jobs).where(*owned_by(claim)).values(attempt=1).returning(jobs)).one_or_none()
        if row is None:
            raise _lease_lost(claim)
        return Claim(job_from(row), claim.fence, claim.worker)

    def finish(
        self,
        claim: Claim,
        result: Mapping[str, object] | None = None,
        *,
        result_file: str | None = None,
        audio_s: float | None = None,
        compute_s: float = 0,
        models: dict[str, str] | None = None,
        progress: Progress | None = None,
    ) -> Job:
        """The job is done: state, result and webhook in one transaction.

        Who waits hears of it before the disk is synced. After a power cut just then the job runs once more, so what it
        needs for that is dropped after `synced` only.
        """
        values: Changes = {
            "state": "succeeded",
            "result": result,
            "result_file": result_file,
            "models": models or {},
            "compute_s": claim.job.compute_s + compute_s,
            "error": None,
        }
        if audio_s is not None:
            values["audio_s"] = audio_s
        if progress:
            values |= _columns_of(progress)
        return self._end(claim, values, durable=False)

    def fail(self, claim: Claim, error: MiloError) -> Job:
        """The job has ended: it failed, with the problem document that says why."""
        return self._end(claim, {"state": "failed", "error": error.problem(f"/api/v1/jobs/{claim.job.id}")})

    def cancelled(self, claim: Claim) -> Job:
        """The worker has stopped the job that somebody cancelled."""
        return self._end(claim, {"state": "cancelled"})

    def _end(self, claim: Claim, values: Changes, *, durable: bool = True) -> Job:
        with writing(self.engine, durable=durable) as tx:
            job = self.move_claimed(tx, claim, values)
            if job is None:
                raise _lease_lost(claim)
        self.changed([job])
        return job

    def synced(self) -> None:
        """Return when all that has finished so far survives a power cut: one sync of the disk for all of it."""
        synced(self.engine)


def _columns_of(progress: Progress) -> Changes:
    return {"progress_done": progress.done, "progress_total": progress.total, "progress_unit": progress.unit}


def _lease_lost(claim: Claim) -> LeaseLost:
    return LeaseLost(f"job {claim.job.id}: fence {claim.fence} is outdated, another attempt owns it")
