"""What people and the reconciler do to jobs from outside: cancel, retry, take back, find what no message will wake."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import and_, func, or_, select, update

from milo.database import reading, writing
from milo.errors import Conflict, MiloError
from milo.jobs import KINDS, Batch, Job, queue_for
from milo.ledger.read import Reading
from milo.ledger.store import AT_ONCE, READABLE, is_due, job_from
from milo.schema import batches, jobs


class Recovering(Reading):
    """What routes and beat call."""

    def cancel(self, job_id: str) -> Job:
        """Cancel: at once when queued, at the next yield point when running. A job that has ended stays as it is."""
        with writing(self.engine) as tx:
            where = [jobs.c.id == job_id, jobs.c.state == "queued"]
            job = self.move(tx, where, {"state": "cancelled", "cancel_requested": True})
            if job is None:
                flag = {"cancel_requested": True, "version": jobs.c.version + 1}
                running = update(jobs).where(jobs.c.id == job_id, jobs.c.state == "running").values(flag)
                row = tx.execute(running.returning(jobs)).one_or_none()
                job = job_from(row) if row else None
        if job is None:
            return self.get(job_id)
        self.changed([job])
        return job

    def cancel_batch(self, batch_id: str) -> Batch:
        """Cancel every job of the batch that has not ended."""
        queued = and_(jobs.c.batch_id == batch_id, jobs.c.state == "queued")
        some = select(jobs.c.id).where(queued).limit(AT_ONCE)  # jobs of a batch have no callback of their own
        changes: dict[str, Any] = {"cancel_requested": True, "version": jobs.c.version + 1}
        ended: dict[str, Any] = {"state": "cancelled", "worker": None, "lease_expires_at": None, "due_at": None}
        while True:
            with writing(self.engine) as tx:
                values = changes | ended | {"finished_at": self.clock()}
                ids = tx.execute(
                    update(jobs).where(jobs.c.id.in_(some), queued).values(values).returning(jobs.c.id)
                ).scalars()
                names = list(ids)
                if not names:
                    running = and_(jobs.c.batch_id == batch_id, jobs.c.state == "running")
                    tx.execute(update(jobs).where(running).values(changes))
                    break
                self.settle_batch(tx, batch_id, len(names))
            self.notify(names)
        self.notify([batch_id])
        return self.batch(batch_id)

    def retry(self, job_id: str) -> Job:
        """Queue a failed or cancelled job again, from its first stage. `Conflict` in any other state."""
        job = self.get(job_id)
        stage = KINDS[job.kind].stages[0][0]
        values = {
            "state": "queued",
            "stage": stage,
            "queue": queue_for(job.kind, stage, job.priority),
            "attempt": 1,
            "cancel_requested": False,
            "error": None,
            "finished_at": None,
            "due_at": None,
            "published_at": self.clock(),
            "progress_done": 0,
            "version": jobs.c.version + 1,
        }
        with writing(self.engine) as tx:
            ended = and_(jobs.c.id == job_id, jobs.c.state.in_(("failed", "cancelled")))
            row = tx.execute(update(jobs).where(ended).values(values).returning(jobs)).one_or_none()
            if row is not None and row.batch_id:
                more = {"remaining": batches.c.remaining + 1, "finished_at": None}
                tx.execute(update(batches).where(batches.c.id == row.batch_id).values(more))
        if row is None:
            raise Conflict(f"job {job_id} is {job.state}; only a failed or cancelled job can be tried again")
        again = job_from(row)
        self.changed([again])
        return again

    def put_off(self, queue: str, until: float) -> int:
        """Nobody may claim what waits in a queue before `until` (unix seconds). Returns how many jobs wait there."""
        waiting = and_(jobs.c.queue == queue, jobs.c.state == "queued")
        sooner = or_(jobs.c.due_at.is_(None), jobs.c.due_at < until)
        with writing(self.engine) as tx:
            put_off = update(jobs).where(waiting, sooner).values(due_at=until, published_at=None)
            return int(tx.execute(put_off).rowcount)

    def reap(self, worker: str | None = None) -> list[Job]:
        """Take back jobs whose lease ran out (or, when `worker` starts anew, those that its last life still holds).

        Returns those that are queued again; the others were out of attempts and failed as `worker_lost`, or were
        cancelled.
        """
        now = self.clock()
        gone = jobs.c.worker == worker if worker else self.lease_ended(now)
        with reading(self.engine) as connection:
            rows = connection.execute(
                select(jobs).where(jobs.c.state == "running", gone, READABLE).limit(AT_ONCE)
            ).all()
        queued = []
        for row in rows:
            with writing(self.engine) as tx:
                where = [jobs.c.id == row.id, jobs.c.state == "running", jobs.c.fence == row.fence, gone]
                moved = self.move(tx, where, self._after_loss(job_from(row)))
            if moved:
                self.changed([moved])
                if moved.state == "queued":
                    queued.append(moved)
        return queued

    def _after_loss(self, job: Job) -> dict[str, Any]:
        if job.cancel_requested:
            return {"state": "cancelled"}
        if job.attempt >= job.max_attempts:
            error = MiloError(
                f"the worker {job.worker} died or hung {job.attempt} times while it ran this job; "
                "look at its input and the worker's log, then POST /retry",
                code="worker_lost",
            )
            return {"state": "failed", "error": error.problem(f"/api/v1/jobs/{job.id}")}
        again = {"state": "queued", "worker": None, "lease_expires_at": None, "published_at": self.clock()}
        return again | {"attempt": jobs.c.attempt + 1}

    def unpublished(self, depths: Mapping[str, int]) -> list[Job]:
        """Queued rows that no message will wake: due retries, and rows whose message was lost. Marks them published.

        A message was lost when its queue is empty (`depths`) and the row still waits, or when rows that were
        published later have been taken before it.
        """
        now = self.clock()
        grace = now - self.settings.lost_after_s
        found: list[Job] = []
        for queue, depth in depths.items():
            passed = grace
            if depth > 0:
                newest = [
                    select(func.max(jobs.c.published_at)).where(
                        jobs.c.queue == queue, jobs.c.state == state, jobs.c.published_at <= now
                    )
                    for state in ("running", "succeeded", "failed")
                ]
                with reading(self.engine) as connection:
                    times = [connection.execute(query).scalar() for query in newest]
                passed = min(grace, max((t for t in times if t), default=0.0) - self.settings.lost_after_s)
            ids = self._without_message(queue, passed, now)
            if not ids:
                continue
            still = and_(jobs.c.id.in_(ids), jobs.c.state == "queued", READABLE)
            with writing(self.engine) as tx:
                again = update(jobs).where(still).values(published_at=now).returning(jobs)
                found += [job_from(row) for row in tx.execute(again)]
        return found

    def _without_message(self, queue: str, passed: float, now: float) -> list[str]:
        """Ids of queued rows: due retries, those published before `passed`, and those "published" in the future.

        Three queries, each a range of one index: a condition with OR would look at the whole backlog.
        """
        at = jobs.c.published_at
        cases = (
            and_(at.is_(None), is_due(now)),
            and_(at < passed, jobs.c.due_at.is_(None)),
            and_(at > now + self.settings.lost_after_s, jobs.c.due_at.is_(None)),  # before the clock was set back
        )
        ids: list[str] = []
        with reading(self.engine) as connection:
            for case in cases:
                which = select(jobs.c.id).where(jobs.c.queue == queue, jobs.c.state == "queued", case, READABLE)
                ids += connection.execute(which.order_by(at).limit(AT_ONCE)).scalars()
        return ids[:AT_ONCE]
