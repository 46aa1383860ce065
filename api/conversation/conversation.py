"""The state of one conversation: who speaks, which turn is answered, and what interrupts it.

Three tasks share it under one lock: one reads the socket, one runs the turns in order, one looks at the clock.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

import anyio
from anyio.abc import TaskGroup

from api.conversation.endpointing import Began, Ended, Endpointer
from api.conversation.frames import (
    MAX_FRAME_BYTES,
    MAX_TEXT_BYTES,
    ClientFrame,
    Configure,
    Interrupt,
    Playback,
    Stop,
    Typed,
    parse,
)
from api.conversation.partial import Partial
from api.conversation.socket import IDLE, POLICY, TOO_BIG, WRONG_KEY, Socket
from api.conversation.turn import Asked, Setting, Turn, TurnContext
from api.http.deps import Context, in_thread
from milo.chat.message import check_message
from milo.chat.sessions import Sessions
from milo.errors import MiloError, TooLarge, TooMany
from milo.ledger.keys import Key

SLICE_BYTES = 16 * 1024
"""Half a second of audio is judged at once; then the other sockets have their turn."""
BARGE_IN_S = 0.2
"""So much speech over a reply interrupts it."""
TICK_S = 0.2
STALL_S = 1.0
"""A microphone that sends nothing for so long, in the middle of speech, has been switched off."""
PARTIAL_EVERY_S = 1.0
MAX_PENDING = 4
"""Turns that may wait for the present one."""
MAX_BAD_FRAMES = 20


class Conversation:
    """`run` it once, after the socket was accepted; it returns when the socket is closed."""

    def __init__(
        self,
        context: Context,
        socket: Socket,
        key: Key,
        session_id: str,
        setting: Setting,
        choose: Callable[[str | None, str | None], Setting],
        verify: Callable[[], Key | None],
    ) -> None:
        """`choose` checks a language and a voice; `verify` tells whether the key is still valid. Both may block."""
        settings = context.settings
        self._context, self._socket, self._key = context, socket, key
        self._setting, self._choose, self._verify = setting, choose, verify
        self._desk = TurnContext(context, Sessions(settings), socket, key, session_id, self._sounded)
        self._ear = Endpointer(settings.conversation_silence_s, settings.conversation_utterance_s)
        self._lock = anyio.Lock()
        self._pending: deque[Turn] = deque()
        self._news = anyio.Event()
        self._turn: Turn | None = None
        self._numbers = 0
        self._barged = False
        self._heard_since_stop = False
        self._playing_until = 0.0
        self._reported: bool | None = None
        self._bad_frames = 0
        self._audio_at = self._active_at = self._partial_at = time.monotonic()
        self._partials: anyio.CancelScope | None = None

    async def run(self) -> None:
        with self._socket.scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._run_turns)
                tasks.start_soon(self._watch, tasks)
                await self._read()
                tasks.cancel_scope.cancel()

    # --- what the client sends --------------------------------------------------------------------------------------

    async def _read(self) -> None:
        while (frame := await self._socket.receive()) is not None:
            async with self._lock:
                if isinstance(frame, bytes):
                    await self._hear(frame)
                else:
                    await self._read_text(frame)

    async def _hear(self, data: bytes) -> None:
        if len(data) > MAX_FRAME_BYTES:
            return await self._too_big(f"a binary frame has {len(data)} bytes; {MAX_FRAME_BYTES} is the most")
        self._audio_at = time.monotonic()
        for start in range(0, len(data), SLICE_BYTES):
            for event in self._ear.hear(data[start : start + SLICE_BYTES]):
                await self._noticed(event)
            await self._mind_barge_in()
            if len(data) > SLICE_BYTES:
                await anyio.sleep(0)

    async def _read_text(self, text: str) -> None:
        if len(text) > MAX_TEXT_BYTES:
            return await self._too_big(f"a text frame has {len(text)} characters; {MAX_TEXT_BYTES} is the most")
        try:
            await self._obey(parse(text))
        except MiloError as error:
            await self._socket.error(error)
            self._bad_frames += error.code == "bad_frame"
            if self._bad_frames > MAX_BAD_FRAMES:
                await self._socket.close(POLICY, "too many frames that are no messages of the protocol")

    async def _too_big(self, detail: str) -> None:
        await self._socket.error(TooLarge(detail, code="frame_too_large"))
        await self._socket.close(TOO_BIG, detail)

    async def _obey(self, frame: ClientFrame) -> None:
        if isinstance(frame, Stop):
            await self._stop()
        elif isinstance(frame, Typed):
            text = check_message(frame.text, self._context.settings)
            await self._ask(Asked(text=text, speak=frame.speak))
        elif isinstance(frame, Interrupt):
            await self._interrupt("client")
        elif isinstance(frame, Configure):
            await self._configure(frame)
        elif isinstance(frame, Playback):
            self._reported = frame.playing

    async def _configure(self, frame: Configure) -> None:
        language = frame.language if "language" in frame.model_fields_set else self._setting.language
        voice = frame.voice if "voice" in frame.model_fields_set else self._setting.voice
        self._setting = await in_thread(self._choose, language, voice)
        await self._socket.send("config", language=self._setting.language, voice=self._setting.voice)

    async def _stop(self) -> None:
        speaking = self._ear.speaking
        ended = self._ear.stop()
        if speaking or ended.utterance:
            await self._noticed(ended)
        if not self._heard_since_stop:
            await self._socket.send("transcript", text="", final=True, language=None, confidence=None)
            await self._socket.send("turn_end", turn=None, outcome="nothing_heard", job_id=None)
        self._heard_since_stop = False

    # --- speech -----------------------------------------------------------------------------------------------------

    async def _noticed(self, event: Began | Ended) -> None:
        self._active_at = time.monotonic()
        if isinstance(event, Began):
            self._barged = False
            self._partial_at = self._active_at
            await self._socket.send("vad", speaking=True)
            return
        if self._partials:
            self._partials.cancel()
        if not event.speaking:
            await self._socket.send("vad", speaking=False)
        if event.utterance:
            self._heard_since_stop = True
            await self._ask(Asked(pcm=event.utterance.pcm, waited_s=event.utterance.waited_s))

    async def _mind_barge_in(self) -> None:
        ear = self._ear
        if self._barged or not ear.speaking or ear.continuing or ear.voiced_s < BARGE_IN_S:
            return
        self._barged = True
        cut_off = self._turn or (self._pending[0] if self._pending else None)
        if not cut_off and not self._playing:
            return
        # whoever only paused goes on with the same thought: both parts are one utterance
        if cut_off and cut_off.asked.pcm and not cut_off.replied:
            ear.prepend(cut_off.asked.pcm)
        await self._interrupt("speech")

    @property
    def _playing(self) -> bool:
        return time.monotonic() < self._playing_until if self._reported is None else self._reported

    def _sounded(self, seconds: float) -> None:
        self._playing_until = max(time.monotonic(), self._playing_until) + seconds

    async def _interrupt(self, reason: str) -> None:
        """Stop the present turn and those that wait for it. Silent when nothing was going on."""
        turn, waiting = self._turn, list(self._pending)
        active = turn is not None or bool(waiting) or self._playing
        self._pending.clear()
        self._playing_until = 0.0
        if self._reported:
            self._reported = False
        if turn:
            turn.interrupt()
        if active:
            await self._socket.send("interrupted", reason=reason, turn=turn.number if turn else None)
        for dropped in waiting:
            await self._socket.send("turn_end", turn=dropped.number, outcome="interrupted", job_id=None)

    # --- turns ------------------------------------------------------------------------------------------------------

    async def _ask(self, asked: Asked) -> None:
        self._active_at = time.monotonic()
        if len(self._pending) >= MAX_PENDING:
            detail = f"{MAX_PENDING} turns wait already; let some be answered first"
            return await self._socket.error(TooMany(detail, code="too_many_turns", retry_after_s=1))
        self._numbers += 1
        self._pending.append(Turn(self._desk, self._numbers, asked, self._setting))
        self._news.set()

    async def _run_turns(self) -> None:
        while True:
            while not self._pending:
                self._news = anyio.Event()
                await self._news.wait()
            self._turn = self._pending.popleft()
            try:
                if await in_thread(self._verify) is None:
                    return await self._socket.close(WRONG_KEY, "the API key has expired or was revoked")
                await self._turn.run()
            finally:
                self._turn = None
                self._active_at = time.monotonic()

    # --- the clock --------------------------------------------------------------------------------------------------

    async def _watch(self, tasks: TaskGroup) -> None:
        while True:
            await anyio.sleep(TICK_S)
            async with self._lock:
                await self._tick(tasks)

    async def _tick(self, tasks: TaskGroup) -> None:
        now = time.monotonic()
        if self._ear.speaking:
            self._active_at = now
            if now - self._audio_at > max(STALL_S, 2 * self._context.settings.conversation_silence_s):
                await self._noticed(self._ear.stop())
            elif self._context.settings.conversation_partials and now - self._partial_at >= PARTIAL_EVERY_S:
                self._partial_at = now
                if self._partials is None:
                    self._partials = anyio.CancelScope()
                    tasks.start_soon(self._tell_partial, self._partials)
        elif not self._turn and not self._pending and now > self._playing_until:
            idle_s = self._context.settings.conversation_idle_s
            if now - self._active_at > idle_s:
                await self._socket.close(IDLE, f"nothing was said for {idle_s:g} s")

    async def _tell_partial(self, scope: anyio.CancelScope) -> None:
        try:
            with scope:
                found = await Partial(self._context, self._key, self._ear.so_far(), self._setting.language).run()
                if found and found.text.strip() and not scope.cancel_called:
                    fields = {"text": found.text, "language": found.language, "confidence": found.confidence}
                    await self._socket.send("transcript", final=False, turn=self._numbers + 1, **fields)
        finally:
            self._partials = None
