"""Waiting for a change: a blocking answer, and a stream of events. Both read the ledger; a wake-up only says when."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import AppStatus
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from api.http.deps import Context, in_thread
from milo.errors import NotFound
from milo.jobs import Job

LOOK_S = 1.0
"""How often a waiter looks by itself while Redis is away."""
SAFETY_LOOK_S = 10.0
"""How often it looks while Redis is there, in case a wake-up was lost."""
SETTLED_S = 2.0
"""How long a job that was answered early may need to be written."""
PING_S = 15
SHUTDOWN_GRACE_S = 3.0
RETRY_MS = 2000


async def next_change(context: Context, event: asyncio.Event, most_s: float) -> bool:
    """Wait for a wake-up, `most_s` at most. False when the server is stopping."""
    until = time.monotonic() + most_s
    look_at = time.monotonic() + (SAFETY_LOOK_S if context.wake_ups.connected else LOOK_S)
    while not event.is_set():
        now = time.monotonic()
        if AppStatus.should_exit:
            return False
        if now >= until or now >= look_at:
            return True
        with anyio.move_on_after(min(1.0, until - now, look_at - now)):
            await event.wait()
    return True


async def wait_for_job(
    context: Context, request: Request, job_id: str, wait_s: float, owner: str | None = None, *, early: bool = False
) -> Job:
    """The job when it has ended, or as it is after `wait_s`; with `owner`, only if it is theirs (`NotFound` otherwise).

    `early`: also as its worker says that it ends, before its result is synced: for an answer that holds the result.
    Raises `ClientDisconnect` when nobody waits any more. The request's body must have been read.
    """
    until = time.monotonic() + wait_s
    async with context.wake_ups.watching(job_id) as event, _noticing_departure(request, event) as gone:
        while True:
            event.clear()
            if gone.is_set():
                raise ClientDisconnect
            job = await in_thread(context.ledger.get, job_id, owner)
            if early and not job.final:
                job = context.wake_ups.early(job) or job
            left_s = until - time.monotonic()
            if job.final or left_s <= 0 or not await next_change(context, event, left_s):
                return job


async def settled(context: Context, job: Job) -> Job:
    """The job; where somebody has already had its result and its end is not written yet, the job a moment later."""
    until = time.monotonic() + SETTLED_S
    if job.final or context.wake_ups.early(job) is None:
        return job
    async with context.wake_ups.watching(job.id) as event:
        while True:
            event.clear()
            job = await in_thread(context.ledger.get, job.id)
            left_s = until - time.monotonic()
            if job.final or left_s <= 0 or not await next_change(context, event, left_s):
                return job


@asynccontextmanager
async def _noticing_departure(request: Request, wake: asyncio.Event) -> AsyncIterator[asyncio.Event]:
    """An event that is set, and `wake` with it, when the client goes away."""
    gone = asyncio.Event()

    async def listen() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        gone.set()
        wake.set()

    listener = asyncio.create_task(listen())
    try:
        yield gone
    finally:
        listener.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listener


async def stream(
    context: Context,
    request: Request,
    name: str,
    kind: str,
    read: Callable[[], Awaitable[dict[str, Any]]],
    ended: Callable[[dict[str, Any]], bool],
    at_least_s: float = 0.0,
) -> Response:
    """Server-sent events of one job or batch: its document now and after each change, until it has ended.

    `Last-Event-ID` (a version) leaves out what the client has seen; 204 tells an EventSource that no more will come.
    `at_least_s` is the shortest time between two events.
    """
    seen = request.headers.get("last-event-id", "")
    first = await read()
    if ended(first) and seen == str(first["version"]):
        return Response(status_code=204)

    async def events() -> AsyncIterator[ServerSentEvent]:
        version = seen
        async with context.wake_ups.watching(name) as event:
            while True:
                event.clear()
                try:
                    document = await read()
                except NotFound:  # cleaned away meanwhile
                    return
                if str(document["version"]) != version:
                    version = str(document["version"])
                    data = json.dumps(document, ensure_ascii=False)
                    yield ServerSentEvent(data, event=kind, id=version, retry=RETRY_MS)
                if ended(document) or not await next_change(context, event, SAFETY_LOOK_S):
                    return
                if at_least_s:
                    await asyncio.sleep(at_least_s)

    stopping = anyio.Event()  # the generator notices by itself and ends; this only grants it the time
    return EventSourceResponse(events(), ping=PING_S, shutdown_event=stopping, shutdown_grace_period=SHUTDOWN_GRACE_S)
