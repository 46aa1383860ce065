"""One turn: an utterance or a typed message, the job that answers it, and the reply as it comes."""

from __future__ import annotations

import logging

import anyio

from api.conversation.relay import ReplyRelay
from api.conversation.turn_context import TurnContext, TurnSettings, UserInput
from api.conversation.turn_job import TurnJob
from api.http.deps import in_thread
from milo.errors import Conflict, MiloError

log = logging.getLogger(__name__)

CLEAN_UP_S = 10.0


class Turn:
    """Runs once. `interrupt` stops it at once: nothing of it is sent any more, and its job is cancelled."""

    def __init__(self, context: TurnContext, number: int, user_input: UserInput, settings: TurnSettings) -> None:
        self.number = number
        self.input = user_input
        self._context = context
        self._job = TurnJob(context, number, user_input, settings)
        self._relay = ReplyRelay(context, number)
        self._scope = anyio.CancelScope()
        self._interrupted = False

    @property
    def replied(self) -> bool:
        """Whether anything of the reply has been sent."""
        return self._relay.replied

    def interrupt(self) -> None:
        self._interrupted = True
        self._relay.stop()
        self._scope.cancel()

    async def run(self) -> None:
        """Submit, relay the reply, and say how the turn ended. Never raises a `MiloError`: it becomes an event."""
        outcome = "failed"
        try:
            with self._scope:
                try:
                    outcome = await self._answer()
                except MiloError as error:
                    await self._context.socket.error(error)
                except Exception as error:
                    log.exception("a turn of %s broke", self._context.session_id, exc_info=error)
                    hidden = MiloError("something broke inside Milo; the server's log has it", code="internal_error")
                    await self._context.socket.error(hidden)
        finally:
            with anyio.move_on_after(CLEAN_UP_S, shield=True):
                await in_thread(self._job.clean_up)
        if self._interrupted:
            outcome = "interrupted"
        waited_ms = round(self.input.waited_s * 1000)
        fields = {"outcome": outcome, "job_id": self._job.id, "endpointing_ms": waited_ms, **self._relay.times_ms}
        await self._context.socket.send("turn_end", turn=self.number, **fields)

    async def _answer(self) -> str:
        """How the turn ended."""
        await in_thread(self._job.submit)
        job = await self._job.follow(self._relay.relay)
        if job.state == "succeeded":
            await self._relay.complete(job.result or {}, spoken=bool(self.input.pcm))
            return "answered" if self.replied else "nothing_heard"
        if job.state == "failed":
            raise MiloError.from_problem({"detail": "the job of this turn failed"} | (job.error or {}))
        raise Conflict("the job of this turn was cancelled by somebody else", code="cancelled")
