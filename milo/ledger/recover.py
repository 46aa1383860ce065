"""What people and the reconciler do to jobs from outside: cancel, retry, take back, find what no message will wake."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import and_, or_, select, update

from milo import metrics
from milo.errors import Conflict, MiloError
from milo.jobs import Batch, Job
from milo.kinds import KINDS, queue_for
from milo.ledger.database import reading, writing
from milo.ledger.read import Reading
from milo.ledger.schema import batches, jobs
from milo.ledger.store import AT_ONCE, READABLE, Changes, is_due, job_from


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
        kind = self.batch(batch_id).kind
        queued = and_(jobs.c.batch_id == batch_id, jobs.c.state == "queued")
        some = select(jobs.c.id).where(queued).limit(AT_ONCE)  # jobs of a batch have no callback of their own
        changes: Changes = {"cancel_requested": True, "version": jobs.c.version + 1}
        ended: Changes = {"state": "cancelled", "worker": None, "lease_expires_at": None, "due_at": None}
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
            metrics.JOBS.labels(kind, "cancelled").inc(len(names))
            self.notify(names)
        self.notify([batch_id])
        return self.batch(batch_id)

    def retry(self, job_id: str) -> Job:
        """Queue a failed or cancelled job again, from its first stage. `Conflict` in any other state."""
        job = self.get(job_id)
        stage = KINDS[job.kind].stages[0].name
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
        queued = job_from(row)
        self.changed([queued])
        return queued

    def put_off(self, queue: str, until: float) -> int:
        """Nobody may claim what waits in a queue before `until` (unix seconds). Returns how many jobs wait there."""
        waiting = and_(jobs.c.queue == queue, jobs.c.state == "queued")
        sooner = or_(jobs.c.due_at.is_(None), jobs.c.due_at < until)
        with writing(self.engine) as tx:
            put_off = update(jobs).where(waiting, sooner).values(due_at=until, published_at=None)
            return int(tx.execute(put_off).rowcount)

    def reap(self, worker: str | None = None) -> list[Job]:
        """Take back jobs whose lease ran out (or, when `worker` starts anew, those of the process before it).

        Returns those that are queued again; the others were out of attempts and failed as `worker_lost`, or were
        cancelled.
        """
        now = self.clock()
        lost = jobs.c.worker == worker if worker else self.lease_ended(now)
        with reading(self.engine) as connection:
            rows = connection.execute(
                select(jobs).where(jobs.c.state == "running", lost, READABLE).limit(AT_ONCE)
            ).all()
        queued = []
        for row in rows:
            where = [jobs.c.id == row.id, jobs.c.state == "running", jobs.c.fence == row.fence, lost]
            where.append(jobs.c.cancel_requested.is_(row.cancel_requested))  # else: the next time
            values = self._after_loss(job_from(row))
            with writing(self.engine) as tx:
                moved = self.move(tx, where, values)
            if moved:
                self.changed([moved])
                if moved.state == "queued":
                    queued.append(moved)
        return queued

    def _after_loss(self, job: Job) -> Changes:
        if job.cancel_requested:
            return {"state": "cancelled"}
        if job.attempt >= job.max_attempts:
            error = MiloError(
                f"the worker {job.worker} died or hung {job.attempt} times while it ran this job; "
                "look at its input and the worker's log, then POST /retry",
                code="worker_lost",
            )
            return {"state": "failed", "error": error.problem(f"/api/v1/jobs/{job.id}")}
        again: Changes = {"state": "queued", "worker": None, "lease_expires_at": None, "published_at": self.clock()}
        return again | {"attempt": jobs.c.attempt + 1}

    def unpublished(self, depths: Mapping[str, int]) -> list[Job]:
        """Queued rows to publish again: due retries, and as many as messages were lost.

        Any message of a queue wakes any row of it (`Ledger.claim_next`), so only numbers are compared: messages were
        lost when more rows have waited for longer than the grace than the queue has messages (`depths`). While there
        are many messages, none is missed yet; so no more than `AT_ONCE` rows are ever counted.
        """
        rows: list[Job] = []
        for queue, depth in depths.items():
            now = self.clock()
            rows += self._due(queue, now)
            self._correct_future(queue, now)
            if depth < AT_ONCE:
                rows += self._without_message(queue, depth, now)
        return rows

    def _due(self, queue: str, now: float) -> list[Job]:
        """Retries whose time has come; marks them published."""
        return self._publish(queue, now, jobs.c.published_at.is_(None), is_due(now))

    def _correct_future(self, queue: str, now: float) -> None:
        """Rows "published" in the future, before the clock was set back: they must not wait for that time."""
        grace = self.settings.lost_after_s
        self._publish(queue, now - grace - 1, jobs.c.published_at > now + grace)

    def _publish(self, queue: str, at: float, *which: Any) -> list[Job]:
        some = select(jobs.c.id).where(jobs.c.queue == queue, jobs.c.state == "queued", *which, READABLE)
        with reading(self.engine) as connection:
            ids = list(connection.execute(some.order_by(jobs.c.published_at).limit(AT_ONCE)).scalars())
        if not ids:
            return []
        still = and_(jobs.c.id.in_(ids), jobs.c.state == "queued", READABLE)
        with writing(self.engine) as tx:
            published = update(jobs).where(still).values(published_at=at).returning(jobs)
            return [job_from(row) for row in tx.execute(published)]

    def _without_message(self, queue: str, depth: int, now: float) -> list[Job]:
        """The rows beyond the first `depth`, the oldest first. Not marked: their places in the queue stay theirs, and
        the depth says from now on that they have messages."""
        passed = jobs.c.published_at < now - self.settings.lost_after_s
        rows = (
            select(jobs)
            .where(jobs.c.queue == queue, jobs.c.state == "queued", passed, is_due(now))
            .where(jobs.c.cancel_requested.is_(False), READABLE)
            .order_by(jobs.c.published_at)
            .limit(AT_ONCE)
            .offset(depth)
        )
        with reading(self.engine) as connection:
            return [job_from(row) for row in connection.execute(rows)]
