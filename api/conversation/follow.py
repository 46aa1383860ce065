"""The events of a job while it works, and how it ends. The stream has the events; the ledger says how it ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from api.answers.events import SAFETY_LOOK_S, next_change
from api.http.deps import Context, in_thread
from milo.jobs import Job
from milo.queue.streams import EventReader, JobEvent

LAG_S = 2.0
"""The last words of a job that has ended are waited for no longer than this."""


async def follow(
    context: Context, event_reader: EventReader, job_id: str, on_event: Callable[[JobEvent], Awaitable[None]]
) -> Job:
    """Hand every entry of the job's stream to `on_event`, until the job has ended; the job as it ended."""
    all_read = anyio.Event()

    async def listen() -> None:
        async for event in event_reader.listen(job_id):
            await on_event(event)
            if event.event == "end":
                all_read.set()
                return

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        job = await ended(context, job_id)
        if job.state == "succeeded":
            with anyio.move_on_after(LAG_S):
                await all_read.wait()
        tasks.cancel_scope.cancel()
    return job


async def ended(context: Context, job_id: str) -> Job:
    """The job when it has ended; as it is when the server stops."""
    async with context.wake_ups.watching(job_id) as event:
        while True:
            event.clear()
            job = await in_thread(context.ledger.get, job_id)
            if job.final or not await next_change(context, event, SAFETY_LOOK_S):
                return job
