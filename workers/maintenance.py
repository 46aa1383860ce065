"""What beat asks for: the reconciler, the webhook sender, the clean-up. Each may run twice at once and do no harm."""

from __future__ import annotations

import asyncio
import contextlib
import time

import redis
from sqlalchemy import delete, select

from milo.errors import Unavailable
from milo.jobs import FINAL
from milo.ledger import Ledger, owners, search
from milo.ledger.database import reading, writing
from milo.ledger.revisions import Revisions, transcript_of
from milo.ledger.schema import batches, idempotency, jobs
from milo.ledger.schema import webhooks as webhook_rows
from milo.monitoring import watchdog
from milo.queue import wakeups
from milo.queue.connection import redis_client
from milo.queue.depths import depths
from milo.settings import Settings
from milo.storage.files import Files
from milo.storage.uploads import Uploads

CLEAN_AT_ONCE = 500
SENDER_LOCK_S = 10.0


def reconcile(settings: Settings, ledger: Ledger) -> int:
    """Re-queue jobs whose lease ran out and publish again those that no message will wake. Returns how many."""
    woken = ledger.reap()
    watchdog.lost(settings, woken)
    try:
        woken += ledger.unpublished(depths(settings))
    except Unavailable:
        return 0  # Redis is away; the rows wait
    for job in woken:
        wakeups.submit(job)
    return len(woken)


def deliver_webhooks(settings: Settings, ledger: Ledger) -> int:
    """Send what is due. One sender at a time, so that slow receivers never take every slot of the CPU worker."""
    from milo.webhooks import delivery

    # short, and renewed by the sender: one that was killed must not block the others
    lock = redis_client(settings.redis_url).lock("milo:webhook-sender", timeout=SENDER_LOCK_S, thread_local=False)
    if not lock.acquire(blocking=False):
        return 0
    try:
        return asyncio.run(delivery.deliver_due(settings, ledger.engine, renew_lock=lock.reacquire))
    finally:
        with contextlib.suppress(redis.RedisError):
            lock.release()


def index_transcripts(ledger: Ledger, files: Files) -> int:
    """Make new transcripts findable; those of an older Milo too, a second's worth at a time. Returns how many."""
    return search.index_new(ledger, Revisions(ledger, lambda job: transcript_of(files, job)))


def clean(settings: Settings, ledger: Ledger, files: Files) -> int:
    """Remove jobs that ended longer ago than the retention time, and what was theirs alone. Returns how many."""
    now = time.time()
    with writing(ledger.engine) as tx:
        tx.execute(delete(idempotency).where(idempotency.c.created_at < now - settings.idempotency_ttl_s))
    _drop_leftover_work(ledger, files)
    Uploads(settings, files).drop_expired()
    if settings.retention_days <= 0:
        return 0
    before = now - settings.retention_days * 86_400
    removed = 0
    while ids := _ended_before(ledger, before):
        for job_id in ids:
            files.drop_results(job_id)
        with writing(ledger.engine) as tx:
            tx.execute(delete(webhook_rows).where(webhook_rows.c.job_id.in_(ids)))
            tx.execute(delete(idempotency).where(idempotency.c.job_id.in_(ids)))
            tx.execute(delete(jobs).where(jobs.c.id.in_(ids)))
        removed += len(ids)
    _drop_empty_batches(ledger, before)
    _drop_unused_blobs(ledger, files, before)
    return removed


def _ended_before(ledger: Ledger, before: float) -> list[str]:
    old = select(jobs.c.id).where(jobs.c.state.in_(FINAL), jobs.c.finished_at < before).limit(CLEAN_AT_ONCE)
    with reading(ledger.engine) as connection:
        return list(connection.execute(old).scalars())


def _drop_empty_batches(ledger: Ledger, before: float) -> None:
    """Batches all of whose jobs have been removed."""
    has_jobs = select(jobs.c.id).where(jobs.c.batch_id == batches.c.id).exists()
    with writing(ledger.engine) as tx:
        ended = select(batches.c.id).where(batches.c.finished_at < before, ~has_jobs)
        ids = list(tx.execute(ended).scalars())
        for table in (webhook_rows, idempotency):
            tx.execute(delete(table).where(table.c.batch_id.in_(ids)))
        tx.execute(delete(batches).where(batches.c.id.in_(ids)))


def _drop_unused_blobs(ledger: Ledger, files: Files, before: float) -> None:
    """Uploads older than the retention time that no job names: their jobs are gone, or never were."""
    old = files.blobs_before(before)
    if not old:
        return
    blob = jobs.c.payload["source"]["blob"].as_string()
    with reading(ledger.engine) as connection:
        used = set(connection.execute(select(blob).distinct()).scalars())
    unused = [blob_id for blob_id in old if blob_id not in used]
    for blob_id in unused:
        files.drop_blob(blob_id)
    owners.forget(ledger.engine, "blob", unused)


def _drop_leftover_work(ledger: Ledger, files: Files) -> None:
    """Work folders of jobs that ended without their worker, as those that ran out of attempts do."""
    for job_id in files.work_in_progress():
        with reading(ledger.engine) as connection:
            state = connection.execute(select(jobs.c.state).where(jobs.c.id == job_id)).scalar()
        if state not in ("queued", "running"):
            files.drop_work(job_id)
