"""One turn: an utterance or a typed message, the job that answers it, and the reply as it comes."""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anyio

from api.conversation.follow import follow
from api.conversation.frames import wav
from api.conversation.socket import Socket
from api.http.deps import Context, in_thread
from api.http.session_place import one_at_a_time
from api.requests.chats import check_chat_model
from api.requests.stt import submit
from milo import metrics
from milo.chat.sessions import WAITING_LEASE_S, Sessions
from milo.errors import Conflict, MiloError, NotFound, Unavailable
from milo.jobs import AudioSource, ChatPayload, ConversePayload, Job, NewJob
from milo.ledger.keys import Key
from milo.queue.streams import JobEvent

log = logging.getLogger(__name__)

RENEW_S = WAITING_LEASE_S / 4
CLEAN_UP_S = 10.0


@dataclass(frozen=True)
class Asked:
    """What the person said or typed, and how it shall be answered."""

    pcm: bytes = b""
    """Int16 LE at 16 kHz; empty for a typed message."""
    text: str = ""
    speak: bool = True
    waited_s: float = 0.0
    """Silence that was waited for before the utterance counted as complete."""


@dataclass(frozen=True)
class Setting:
    """Models, language and voice of a turn, all checked."""

    stt_model: str
    tts_model: str
    language: str | None = None
    """None: that of the utterance."""
    voice: str | None = None


@dataclass(frozen=True)
class TurnContext:
    """What all turns of a conversation share."""

    context: Context
    sessions: Sessions
    socket: Socket
    key: Key
    session_id: str
    sounded: Callable[[float], None]
    """Told how many seconds of reply have been sent."""


class Turn:
    """Runs once. `interrupt` stops it at once: nothing of it is sent any more, and its job is cancelled."""

    def __init__(self, desk: TurnContext, number: int, asked: Asked, setting: Setting) -> None:
        self.number = number
        self.asked = asked
        self.replied = False
        """Whether anything of the reply has been sent."""
        self._desk, self._setting = desk, setting
        self._scope = anyio.CancelScope()
        self._job: Job | None = None
        self._ticket: int | None = None
        self._interrupted = False
        self._from = time.monotonic()
        self._times: dict[str, int] = {}
        self._started = False
        self._sentences = 0
        self._told = False
        """Whether the final transcript has been sent."""
        self._whole_told = False
        """Whether the whole reply has been sent as text."""

    def interrupt(self) -> None:
        self._interrupted = True
        self._scope.cancel()

    async def run(self) -> None:
        """Ask, relay the reply, and say how the turn ended. Never raises a `MiloError`: it becomes an event."""
        outcome = "failed"
        try:
            with self._scope:
                try:
                    outcome = await self._answer()
                except MiloError as error:
                    await self._desk.socket.error(error)
                except Exception as error:
                    log.exception("a turn of %s broke", self._desk.session_id, exc_info=error)
                    hidden = MiloError("something broke inside Milo; the server's log has it", code="internal_error")
                    await self._desk.socket.error(hidden)
        finally:
            with anyio.move_on_after(CLEAN_UP_S, shield=True):
                await in_thread(self._clean_up)
        if self._interrupted:
            outcome = "interrupted"
        await self._end(outcome)

    async def _end(self, outcome: str) -> None:
        job_id = self._job.id if self._job else None
        waited_ms = round(self.asked.waited_s * 1000)
        times = self._times | {"total_ms": self._ms()}
        await self._desk.socket.send(
            "turn_end", turn=self.number, outcome=outcome, job_id=job_id, endpointing_ms=waited_ms, **times
        )

    # --- asking -----------------------------------------------------------------------------------------------------

    async def _answer(self) -> str:
        await in_thread(self._ask)
        assert self._job is not None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._keep_place)
            try:
                job = await follow(self._desk.context, self._desk.context.event_reader, self._job.id, self._hear)
            finally:
                tasks.cancel_scope.cancel()
        self._job = job
        if job.state == "succeeded":
            return await self._complete(job.result or {})
        if job.state == "failed":
            raise _failure(job)
        raise Conflict("the job of this turn was cancelled by somebody else", code="cancelled")

    def _ask(self) -> None:
        """Store the audio, take a place in the session, write the job. In a thread; what it has, it keeps at once."""
        desk, asked = self._desk, self.asked
        check_chat_model(desk.context.settings)
        blob = desk.context.files.put_blob([wav(asked.pcm)]).id if asked.pcm else None
        kind = "converse" if blob else "chat"
        with one_at_a_time(desk.key.name, desk.session_id):
            self._ticket = self._take_place()
            payload = self._spoken_payload(blob) if blob else self._typed_payload()
            new = NewJob(kind=kind, payload=payload, owner=desk.key.name, priority="realtime")
            self._job = submit(desk.context, new)

    def _take_place(self) -> int:
        """A ticket of the session. One that was deleted meanwhile begins anew, with nothing remembered."""
        desk = self._desk
        try:
            return desk.sessions.take(desk.key.name, desk.session_id)
        except NotFound:
            desk.sessions.open(desk.key.name, desk.session_id)
            return desk.sessions.take(desk.key.name, desk.session_id)

    def _spoken_payload(self, blob: str) -> dict[str, Any]:
        desk, setting = self._desk, self._setting
        assert self._ticket is not None
        return ConversePayload(
            source=AudioSource(blob=blob, name=f"utterance-{self.number}.wav"),
            session_id=desk.session_id,
            ticket=self._ticket,
            stt_model=setting.stt_model,
            tts_model=setting.tts_model,
            language=setting.language,
            voice=setting.voice,
        ).model_dump()

    def _typed_payload(self) -> dict[str, Any]:
        desk, setting, asked = self._desk, self._setting, self.asked
        return ChatPayload(
            message=asked.text,
            session_id=desk.session_id,
            ticket=self._ticket,
            language=setting.language,
            voice_mode=asked.speak,
            tts_model=setting.tts_model,
            voice=setting.voice,
            stream=True,
        ).model_dump()

    async def _keep_place(self) -> None:
        """Until a worker takes the job, it is here that its place in the session is kept, and patience ends."""
        desk, patience_s = self._desk, self._desk.context.settings.max_wait_s
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
                log.info("the place of a turn in %s is not kept: %s", desk.session_id, error)

    def _renew(self) -> None:
        desk = self._desk
        if self._ticket is not None and not self._started:
            desk.sessions.look(desk.key.name, desk.session_id, self._ticket, holding_s=WAITING_LEASE_S)

    def _clean_up(self) -> None:
        """Leave nothing behind: no job that nobody hears, no place in the session that others wait for."""
        desk = self._desk
        try:
            if self._job and not self._job.final:
                desk.context.ledger.cancel(self._job.id)
            if self._ticket is not None:
                desk.sessions.leave(desk.key.name, desk.session_id, self._ticket)
        except Exception as error:  # the leases of both end by themselves
            log.warning("a turn of %s was not cleaned up: %s", desk.session_id, error)

    # --- relaying ---------------------------------------------------------------------------------------------------

    async def _hear(self, said: JobEvent) -> None:
        if said.event == "start":
            await self._start()
        elif said.event == "transcript":
            await self._transcript(said.data)
        elif said.event == "mode":
            await self._send("mode", mode=said.data.get("mode"))
        elif said.event == "delta":
            self._first("first_text_ms")
            self.replied = True
            await self._send("reply_delta", text=said.data.get("text", ""))
        elif said.event == "reply_text":
            await self._whole(str(said.data.get("text", "")))
        elif said.event == "audio":
            await self._audio(said)

    async def _start(self) -> None:
        """A worker begins; the second time, what came before it is void, and comes again."""
        if self._started and (self.replied or self._told):
            await self._send("interrupted", reason="restarted")
            self._sentences, self._told, self._whole_told = 0, False, False
        self._started = True

    async def _transcript(self, data: dict[str, Any]) -> None:
        final = bool(data.get("final", True))
        if final and self._told:  # it was heard ahead of its turn
            return
        if final:
            self._first("transcript_ms")
            self._told = True
        fields = {name: data.get(name) for name in ("text", "language", "confidence")}
        await self._send("transcript", final=final, **fields)

    async def _whole(self, text: str) -> None:
        self._first("first_text_ms")
        self._whole_told = self.replied = True
        await self._send("reply_text", text=text)

    async def _audio(self, said: JobEvent) -> None:
        rate_hz = int(said.data.get("sample_rate_hz") or 16_000)
        text = str(said.data.get("text") or "")
        last = bool(said.data.get("last"))
        audio = base64.b64encode(wav(said.blob, rate_hz)).decode()
        if "first_audio_ms" not in self._times:
            metrics.FIRST_AUDIO_S.observe(time.monotonic() - self._from)
        self._first("first_audio_ms")
        self.replied = True
        if not self._interrupted:
            self._desk.sounded(len(said.blob) / 2 / rate_hz)
        await self._send("reply_audio", audio=audio, text=text, index=self._sentences, last=last)
        self._sentences += 1

    async def _complete(self, result: dict[str, Any]) -> str:
        """Send what the result has and the stream had not; how the turn ended."""
        transcript = result.get("transcript")
        if isinstance(transcript, str) and not self._told and self.asked.pcm:
            await self._transcript({"text": transcript, "language": result.get("language")})
        reply = result.get("reply")
        if isinstance(reply, str) and reply and not self._whole_told:
            await self._whole(reply)
        return "answered" if self.replied else "nothing_heard"

    def _first(self, name: str) -> None:
        self._times.setdefault(name, self._ms())

    def _ms(self) -> int:
        return round((time.monotonic() - self._from) * 1000)

    async def _send(self, event: str, **fields: Any) -> None:
        if not self._interrupted:  # a cancelled task may still take one step
            await self._desk.socket.send(event, turn=self.number, **fields)


def _failure(job: Job) -> MiloError:
    """The error that a failed job carries."""
    return MiloError.from_problem({"detail": "the job of this turn failed"} | (job.error or {}))
