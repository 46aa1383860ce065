"""Answers that begin before the job has ended: server-sent events, and audio in pieces. When the reader goes away,
the job is cancelled: nobody else would hear it.

What a job says comes from its Redis stream; that it has ended, and how, from the ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import anyio
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from api.answers.events import PING_S, SAFETY_LOOK_S, SHUTDOWN_GRACE_S, next_change
from api.http.deps import Context, in_thread
from api.http.session_place import cancel_job
from milo.audio.formats import MEDIA_TYPES
from milo.errors import Conflict, MiloError
from milo.jobs import Job
from milo.queue.streams import JobEvent

LAST_WORDS_S = 2.0
"""A job that has succeeded has said everything; this long it may be on its way."""
FIRST_WORD_S = 10.0
"""So long an answer waits with its status for the first word: a job that fails at once gets a status of its own."""
LOST = "lost"
"""Comes before a job that succeeded, when not all of what it said was heard (Redis was away)."""
Item = JobEvent | Job
Event = ServerSentEvent | dict[str, str]
"""One server-sent event, as sse-starlette takes them."""


async def _follow(context: Context, job_id: str, silent: bool) -> AsyncIterator[Item]:
    """What the job says, then the job as it ended (or, when the server stops, as it is).

    A `start` among them means that another attempt has begun: all that came before it is said again.
    """
    items: asyncio.Queue[Item | BaseException] = asyncio.Queue()

    def tell(task: asyncio.Task[None]) -> None:
        """Who reads would wait for ever for one that failed (the ledger did not answer)."""
        if not task.cancelled() and (error := task.exception()):
            items.put_nowait(error)

    async def hear() -> None:
        async for event in context.event_reader.listen(job_id):
            items.put_nowait(event)

    async def watch() -> None:
        async with context.wake_ups.watching(job_id) as event:
            while True:
                event.clear()
                job = await in_thread(context.ledger.get, job_id)
                if job.final or not await next_change(context, event, SAFETY_LOOK_S):
                    items.put_nowait(job)
                    return

    tasks = [asyncio.create_task(work()) for work in ((watch,) if silent else (hear, watch))]
    for task in tasks:
        task.add_done_callback(tell)
    try:
        async for item in _in_order(items, silent):
            yield item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _in_order(items: asyncio.Queue[Item | BaseException], silent: bool) -> AsyncIterator[Item]:
    started, complete = False, silent
    ended: Job | None = None
    while ended is None or (ended.state == "succeeded" and not complete):
        try:
            item = await asyncio.wait_for(items.get(), None if ended is None else LAST_WORDS_S)
        except asyncio.TimeoutError:
            break
        if isinstance(item, BaseException):
            raise item
        if isinstance(item, Job):
            ended = item
            continue
        complete = item.event == "end"
        if not complete and (started or item.event != "start"):
            yield item
        started = started or item.event == "start"
    if ended is not None:
        if ended.state == "succeeded" and not complete:
            yield JobEvent("", LOST, {})
        yield ended


class Steps:
    """What a job says and how it ends, to be read once. Close it when nobody reads on.

    `silent`: the job is of a kind that says nothing; only its end comes.
    """

    def __init__(self, context: Context, job_id: str, silent: bool = False) -> None:
        self.context = context
        self.job_id = job_id
        self.over = False
        """The reader got to the end."""
        self._source = _follow(context, job_id, silent)
        self._next: asyncio.Task[Item] | None = None

    async def peek(self, within_s: float = FIRST_WORD_S) -> Item | None:
        """What comes first, without taking it away; None when nothing comes in time."""
        if self._next is None:
            self._next = asyncio.ensure_future(anext(self._source))
        done, _ = await asyncio.wait({self._next}, timeout=within_s)
        return self._next.result() if done else None

    def __aiter__(self) -> Steps:
        return self

    async def __anext__(self) -> Item:
        pending, self._next = self._next, None
        item = await (pending or anext(self._source))
        self.over = isinstance(item, Job)
        return item

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Closes the steps if the block fails."""
        try:
            yield
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self.close()
            raise

    async def leave(self) -> None:
        """Stop listening, and let the job go on."""
        self.over = True
        await self.close()

    async def close(self) -> None:
        """Stop listening; a job that has not ended is cancelled, unless it was read to its end."""
        if self._next is not None:
            self._next.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._next
        await self._source.aclose()  # type: ignore[attr-defined]
        if not self.over:
            with contextlib.suppress(MiloError):
                await in_thread(cancel_job, self.context, self.job_id)


class _Closes:
    """A response that ends what feeds it, however it ends itself."""

    close: Callable[[], Awaitable[None]]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)  # type: ignore[misc]
        finally:
            with anyio.CancelScope(shield=True):
                await self.body_iterator.aclose()  # type: ignore[attr-defined]
                await self.close()


class Events(_Closes, EventSourceResponse):
    """Server-sent events, with a comment every 15 s while nothing happens."""

    def __init__(self, events: AsyncIterator[Event], steps: Steps, headers: dict[str, str] | None = None) -> None:
        super().__init__(
            events,
            headers=headers,
            ping=PING_S,
            sep="\n",
            shutdown_event=anyio.Event(),
            shutdown_grace_period=SHUTDOWN_GRACE_S,
        )
        self.close = steps.close


class Audio(_Closes, StreamingResponse):
    """A file of audio that is written while it is spoken."""

    def __init__(self, steps: Steps, rate_hz: int, media_type: str, headers: dict[str, str]) -> None:
        headers = {"X-Milo-Job-Id": steps.job_id, "X-Audio-Sample-Rate-Hz": str(rate_hz), **headers}
        headers |= {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(audio_pieces(steps), headers=headers, media_type=media_type)
        self.close = steps.close


async def open_audio(context: Context, job: Job, wait_s: float, headers: dict[str, str]) -> Audio | Job:
    """The audio in pieces; or the job as it is, if it ends without a word or says none in time, and goes on."""
    steps = Steps(context, job.id)
    async with steps.kept():
        first = await steps.peek(wait_s)
        if not isinstance(first, JobEvent) or first.event != "audio":
            await steps.leave()
            return first if isinstance(first, Job) else await in_thread(context.ledger.get, job.id)
        return Audio(steps, int(first.data["sample_rate_hz"]), MEDIA_TYPES[str(job.payload["format"])], headers)


async def audio_pieces(steps: Steps) -> AsyncIterator[bytes]:
    """The file in pieces, each said once. Raises what the job failed with: the connection is cut, and the client knows.
    A second attempt says the same, so it goes on where the first one was cut.
    """
    sent = again = 0
    async for item in steps:
        if isinstance(item, Job):
            if item.state != "succeeded":
                raise failure(item)
        elif item.event == "start":
            again = sent
        elif item.event == LOST:
            raise MiloError(f"a part of the audio was lost on its way; job {steps.job_id} has all of it", code="lost")
        elif item.event == "audio":
            fresh = item.blob[again:]
            again = max(0, again - len(item.blob))
            sent += len(fresh)
            if fresh:
                yield fresh


def failure(job: Job) -> MiloError:
    """Why a job gave nothing, as an error to raise or to send."""
    if job.state == "cancelled":
        return Conflict(f"job {job.id} was cancelled", code="cancelled")
    if not job.final:
        error = MiloError("the server is stopping; ask again in a moment", code="stopping")
        error.status = 503
        return error
    return MiloError.from_problem({"detail": f"job {job.id} failed"} | (job.error or {}))
