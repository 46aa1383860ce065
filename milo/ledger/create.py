"""Accepting work: jobs and batches, once for each idempotency key, within the quota of each key."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import IntegrityError

from milo import quotas
from milo.errors import Invalid, TooMany
from milo.jobs import Batch, Job, NewJob, new_id
from milo.kinds import KINDS, queue_for
from milo.ledger import usage
from milo.ledger.database import reading, synced, writing
from milo.ledger.read import Reading
from milo.ledger.schema import batches, idempotency, jobs
from milo.ledger.store import SCHEMA_VERSION, group_key, job_from, job_of

QUOTA_CACHE_S = 2.0
COMPUTED_CACHE_S = 30.0
RETRY_S = 30.0
COMPUTED_RETRY_S = 600.0


class Creating(Reading):
    """What the front calls."""

    def create(self, new: NewJob, meanwhile: Callable[[Job], object] | None = None) -> Job:
        """Write one job. With an idempotency key that was used before: the job of the first time.

        `meanwhile` is called when others can see the row and the disk is not yet synced. What it does must do no harm
        if a power cut takes the row back.
        """
        (job,) = self._create([new], None)
        if meanwhile:
            meanwhile(job)
        synced(self.engine)
        return job

    def create_batch(self, batch: Batch, items: Sequence[NewJob], fingerprint: str | None = None) -> Batch:
        """Write a batch and its jobs in one transaction; idempotent as `create`."""
        created = self._create(items, batch, fingerprint)
        synced(self.engine)
        return self.batch(created[0].batch_id or batch.id)

    def _create(self, items: Sequence[NewJob], batch: Batch | None, fingerprint: str | None = None) -> list[Job]:
        first = items[0]
        key = batch.idempotency_key if batch else first.idempotency_key
        digest = fingerprint if batch else first.fingerprint
        rows = [self._row(item) for item in items]
        try:
            with writing(self.engine, durable=False) as tx:  # its callers sync
                if key and (earlier := self._earlier(tx, first.owner, key, digest)):
                    return earlier
                self._check_quota(tx, first.owner, len(items))
                if batch:
                    fields = batch.model_dump(include=set(batches.c.keys()))
                    tx.execute(insert(batches), fields)
                tx.execute(insert(jobs), rows)
                if key:
                    entry = {"owner": first.owner, "key": key, "fingerprint": digest or "", "created_at": self.clock()}
                    where = {"batch_id": batch.id} if batch else {"job_id": rows[0]["id"]}
                    tx.execute(insert(idempotency), entry | where)
        except IntegrityError:
            if not key:
                raise
            with reading(self.engine) as connection:  # two first requests at once: the other one won
                earlier = self._earlier(connection, first.owner, key, digest)
            if not earlier:
                raise
            return earlier
        ids = [str(row["id"]) for row in rows]
        self.notify(ids if not batch else [batch.id])
        return [job_of(row) for row in (rows[:1] if batch else rows)]

    def _row(self, new: NewJob) -> dict[str, object]:
        kind = KINDS[new.kind]
        stage = new.stage or kind.stages[0].name
        now = self.clock()
        fields = new.model_dump(exclude={"stage", "fingerprint"})
        return (
            dict.fromkeys(column.name for column in jobs.c)
            | fields
            | {
                "id": new_id("job"),
                "state": "queued",
                "stage": stage,
                "queue": queue_for(new.kind, stage, new.priority),
                "group_key": group_key(new.kind, new.payload),
                "progress_done": 0,
                "progress_unit": "items",
                "attempt": 1,
                "fence": 0,
                "slices": 0,
                "version": 1,
                "cancel_requested": False,
                "created_at": now,
                "published_at": now,  # about to be; if that fails, `unpublished` finds the row
                "compute_s": 0,
                "models": {},
                "schema_version": SCHEMA_VERSION,
                "revision": 0,
            }
        )

    def _earlier(self, tx: Connection, owner: str, key: str, fingerprint: str | None) -> list[Job]:
        row = tx.execute(
            select(idempotency).where(idempotency.c.owner == owner, idempotency.c.key == key)
        ).one_or_none()
        if row is None:
            return []
        where = jobs.c.id == row.job_id if row.job_id else jobs.c.batch_id == row.batch_id
        created = [job_from(job) for job in tx.execute(select(jobs).where(where).limit(1))]
        if created and row.fingerprint != (fingerprint or ""):
            raise Invalid(
                f"the Idempotency-Key {key!r} was used for a different request; use a new key for a new request",
                code="idempotency_mismatch",
            )
        return created

    def earlier(self, owner: str, key: str, fingerprint: str) -> Job | None:
        """The job (or the first of the batch) created by this idempotency key; `Invalid` if the request differs."""
        with reading(self.engine) as connection:
            created = self._earlier(connection, owner, key, fingerprint)
        return created[0] if created else None

    def _check_quota(self, tx: Connection, owner: str, more: int) -> None:
        """Count the owner's queue at most once in `QUOTA_CACHE_S`: the cost of a create stays flat under a backlog."""
        limit, now = self.settings.max_queued_jobs, self.clock()
        counted_at, queued, audio_s = self._queued.get(owner, (0.0, 0, 0.0))
        if not 0 <= now - counted_at < QUOTA_CACHE_S:
            counted_at, (queued, audio_s) = now, usage.queued(tx, owner)
        quotas.check(self.settings, owner, "queued_audio_s", audio_s, 1e-6, RETRY_S)
        self._check_computed(tx, owner, now)
        if queued + more > limit:
            raise TooMany(
                f"{queued} jobs of this key are queued, and {limit} is the most: wait until some are done",
                code="queue_full",
                retry_after_s=RETRY_S,
            )
        self._queued[owner] = (counted_at, queued + more, audio_s)

    def _check_computed(self, tx: Connection, owner: str, now: float) -> None:
        if quotas.limit_of(self.settings, owner, "compute_s") is None:
            return
        counted_at, computed_s = self._computed.get(owner, (0.0, 0.0))
        if not 0 <= now - counted_at < COMPUTED_CACHE_S:
            counted_at, computed_s = self._computed[owner] = now, usage.compute_s(tx, owner, now)
        quotas.check(self.settings, owner, "compute_s", computed_s, 1e-6, COMPUTED_RETRY_S)
