"""The row of a job, written, and the wake-up that follows it."""

from __future__ import annotations

from api.http.deps import Context
from milo.jobs import Job, NewJob
from milo.queue import wakeups
from milo.queue.connection import ping_redis


def write_job(context: Context, new: NewJob) -> Job:
    """Write the row and wake a worker, who may begin while the disk is being synced."""

    def wake(job: Job) -> None:
        if job.state == "queued":
            wakeups.submit(job, wakeups.PUBLISH_WAIT_S)

    return context.ledger.create(new.model_copy(update={"max_attempts": context.settings.max_attempts}), wake)


def submit_job(context: Context, new: NewJob) -> Job:
    """The same where no request has asked Redis yet: raises `Unavailable` while it is away, and nothing is written."""
    ping_redis(context.settings)
    return write_job(context, new)
