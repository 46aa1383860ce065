"""The job that answers a turn, and the turn's place in its chat session."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from api.conversation.follow import follow
from api.conversation.frames import wav
from api.conversation.turn_context import TurnContext, TurnSettings, UserInput
from api.http.deps import in_thread
from api.http.session_place import one_at_a_time
from api.requests.chat import check_chat_model
from api.requests.writing import submit_job
from milo.chat.sessions import WAITING_LEASE_S
from milo.errors import MiloError, NotFound, Unavailable
from milo.jobs import AudioSource, Job, NewJob
from milo.kinds.chat import ChatPayload, ConversePayload
from milo.queue.streams import JobEvent

log = logging.getLogger(__name__)

RENEW_S = WAITING_LEASE_S / 4


class TurnJob:
    """`submit` it, `follow` it to its end, and `clean_up` in any case."""

    def __init__(self, context: TurnContext, number: int, user_input: UserInput, settings: TurnSettings) -> None:
        self._context, self._number, self._input, self._settings = context, number, user_input, settings
        self._job: Job | None = None
        self._ticket: int | None = None
        self._started = False

    @property
    def id(self) -> str | None:
        """None: it was not submitted yet."""
        return self._job.id if self._job else None

    def submit(self) -> None:
        """Store the audio, take a place in the session, write the job. Blocks; what it has, it keeps at once."""
        context = self._context
        check_chat_model(context.app.settings)
        blob = context.app.files.put_blob([wav(self._input.pcm)]).id if self._input.pcm else None
        with one_at_a_time(context.key.name, context.session_id):
            self._ticket = self._take_place()
            payload = self._spoken_payload(blob, self._ticket) if blob else self._typed_payload()
            kind = "converse" if blob else "chat"
            new = NewJob(kind=kind, payload=payload, owner=context.key.name, priority="realtime")
            self._job = submit_job(context.app, new)

    def _take_place(self) -> int:
        """A ticket of the session. One that was deleted meanwhile begins anew, with nothing remembered."""
        sessions, owner, session_id = self._context.sessions, self._context.key.name, self._context.session_id
        try:
            return sessions.take(owner, session_id)
        except NotFound:
            sessions.open(owner, session_id)
            return sessions.take(owner, session_id)

    def _spoken_payload(self, blob: str, ticket: int) -> dict[str, Any]:
        return ConversePayload(
            source=AudioSource(blob=blob, name=f"utterance-{self._number}.wav"),
            session_id=self._context.session_id,
            ticket=ticket,
            stt_model=self._settings.stt_model,
            tts_model=self._settings.tts_model,
            language=self._settings.language,
            voice=self._settings.voice,
        ).model_dump()

    def _typed_payload(self) -> dict[str, Any]:
        return ChatPayload(
            message=self._input.text,
            session_id=self._context.session_id,
            ticket=self._ticket,
            language=self._settings.language,
            voice_mode=self._input.speak,
            tts_model=self._settings.tts_model,
            voice=self._settings.voice,
            stream=True,
        ).model_dump()

    async def follow(self, on_event: Callable[[JobEvent], Awaitable[None]]) -> Job:
        """Hand its events to `on_event` until it has ended; the job as it ended.

        Raises `Unavailable` when no worker takes it in time.
        """
        assert self._job is not None

        async def note_start(event: JobEvent) -> None:
            await on_event(event)
            self._started = self._started or event.event == "start"

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._keep_place)
            try:
                job = await follow(self._context.app, self._context.app.event_reader, self._job.id, note_start)
            finally:
                tasks.cancel_scope.cancel()
        self._job = job
        return job

    async def _keep_place(self) -> None:
        """Until a worker takes the job, its place in the session is kept from here, and for no longer than that."""
        patience_s = self._context.app.settings.max_wait_s
        until = time.monotonic() + patience_s
        while not self._started:
            await anyio.sleep(min(RENEW_S, max(0.0, until - time.monotonic())))
            if self._started:
                return
            if time.monotonic() >= until:
                raise Unavailable(f"no worker has taken the turn within {patience_s:g} s", code="no_worker")
            try:
                await in_thread(self._renew)
            except MiloError as error:
                log.info("the place of a turn in %s is not kept: %s", self._context.session_id, error)

    def _renew(self) -> None:
        context = self._context
        if self._ticket is not None and not self._started:
            context.sessions.renew(context.key.name, context.session_id, self._ticket, holding_s=WAITING_LEASE_S)

    def clean_up(self) -> None:
        """Leave nothing behind: no job whose reply nobody wants, no place in the session that others wait for."""
        context = self._context
        try:
            if self._job and not self._job.final:
                context.app.ledger.cancel(self._job.id)
            if self._ticket is not None:
                context.sessions.leave(context.key.name, context.session_id, self._ticket)
        except Exception as error:  # the leases of both end by themselves
            log.warning("a turn of %s was not cleaned up: %s", context.session_id, error)
