"""One conversation: frames from the client, speech, and the clock; what they bring about, and what interrupts it.

Three tasks share it under one lock: one reads the socket, one runs the turns in order, one looks at the clock.
"""

from __future__ import annotations

import time
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
    PlaybackReport,
    Stop,
    Typed,
    parse,
)
from api.conversation.partial import EarlyTranscription
from api.conversation.playback import Playback
from api.conversation.socket import IDLE, POLICY, TOO_BIG, Socket
from api.conversation.turn_context import TurnContext, TurnSettings, UserInput
from api.conversation.turns import TurnQueue
from api.http.deps import Context, in_thread
from milo.chat.message import check_message
from milo.chat.sessions import Sessions
from milo.errors import MiloError, TooLarge
from milo.ledger.keys import Key

SLICE_BYTES = 16 * 1024
"""Half a second of audio is judged at once; then the other sockets have their turn."""
BARGE_IN_S = 0.2
"""So much speech over a reply interrupts it."""
TICK_S = 0.2
STALL_S = 1.0
"""A microphone that sends nothing for so long, in the middle of speech, has been switched off."""
PARTIAL_EVERY_S = 1.0
MAX_BAD_FRAMES = 20


class Conversation:
    """`run` it once, after the socket was accepted; it returns when the socket is closed."""

    def __init__(
        self,
        context: Context,
        socket: Socket,
        key: Key,
        session_id: str,
        turn_settings: TurnSettings,
        choose: Callable[[str | None, str | None], TurnSettings],
        verify: Callable[[], Key | None],
    ) -> None:
        """`choose` checks a language and a voice; `verify` tells whether the key is still valid. Both may block."""
        self._settings = context.settings
        self._context, self._socket, self._key = context, socket, key
        self._turn_settings, self._choose = turn_settings, choose
        self._playback = Playback()
        shared = TurnContext(context, Sessions(self._settings), socket, key, session_id, self._playback.sent)
        self._turns = TurnQueue(shared, verify)
        self._endpointer = Endpointer(self._settings.conversation_silence_s, self._settings.conversation_utterance_s)
        self._lock = anyio.Lock()
        self._barge_in_checked = False
        """Whether the present speech has been long enough to interrupt a reply, and that has been decided."""
        self._utterance_since_stop = False
        self._bad_frames = 0
        self._audio_at = self._active_at = self._partial_at = time.monotonic()
        self._partial_scope: anyio.CancelScope | None = None

    async def run(self) -> None:
        with self._socket.scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._turns.run)
                tasks.start_soon(self._watch, tasks)
                await self._read()
                tasks.cancel_scope.cancel()

    # --- what the client sends --------------------------------------------------------------------------------------

    async def _read(self) -> None:
        while (frame := await self._socket.receive()) is not None:
            async with self._lock:
                if isinstance(frame, bytes):
                    await self._read_audio(frame)
                else:
                    await self._read_text(frame)

    async def _read_audio(self, data: bytes) -> None:
        if len(data) > MAX_FRAME_BYTES:
            return await self._too_big(f"a binary frame has {len(data)} bytes; {MAX_FRAME_BYTES} is the most")
        self._audio_at = time.monotonic()
        for start in range(0, len(data), SLICE_BYTES):
            for event in self._endpointer.feed(data[start : start + SLICE_BYTES]):
                await self._on_speech(event)
            await self._check_barge_in()
            if len(data) > SLICE_BYTES:
                await anyio.sleep(0)

    async def _read_text(self, text: str) -> None:
        if len(text) > MAX_TEXT_BYTES:
            return await self._too_big(f"a text frame has {len(text)} characters; {MAX_TEXT_BYTES} is the most")
        try:
            await self._on_frame(parse(text))
        except MiloError as error:
            await self._socket.error(error)
            self._bad_frames += error.code == "bad_frame"
            if self._bad_frames > MAX_BAD_FRAMES:
                await self._socket.close(POLICY, "too many frames that are no messages of the protocol")

    async def _too_big(self, detail: str) -> None:
        await self._socket.error(TooLarge(detail, code="frame_too_large"))
        await self._socket.close(TOO_BIG, detail)

    async def _on_frame(self, frame: ClientFrame) -> None:
        if isinstance(frame, Stop):
            await self._stop()
        elif isinstance(frame, Typed):
            text = check_message(frame.text, self._settings)
            await self._turns.add(UserInput(text=text, speak=frame.speak), self._turn_settings)
        elif isinstance(frame, Interrupt):
            await self._interrupt("client")
        elif isinstance(frame, Configure):
            await self._configure(frame)
        elif isinstance(frame, PlaybackReport):
            self._playback.report(frame.playing)

    async def _configure(self, frame: Configure) -> None:
        language = frame.language if "language" in frame.model_fields_set else self._turn_settings.language
        voice = frame.voice if "voice" in frame.model_fields_set else self._turn_settings.voice
        self._turn_settings = await in_thread(self._choose, language, voice)
        if frame.partials is not None:
            self._socket.partials = frame.partials
        chosen = self._turn_settings
        fields = {"language": chosen.language, "voice": chosen.voice, "partials": self._socket.partials}
        await self._socket.send("config", **fields)

    async def _stop(self) -> None:
        speaking = self._endpointer.speaking
        ended = self._endpointer.stop()
        if speaking or ended.utterance:
            await self._on_speech(ended)
        if not self._utterance_since_stop:
            await self._socket.send("transcript", text="", final=True, language=None, confidence=None)
            await self._socket.send("turn_end", turn=None, outcome="nothing_heard", job_id=None)
        self._utterance_since_stop = False

    # --- speech -----------------------------------------------------------------------------------------------------

    async def _on_speech(self, event: Began | Ended) -> None:
        self._active_at = time.monotonic()
        if isinstance(event, Began):
            self._barge_in_checked = False
            self._partial_at = self._active_at
            await self._socket.send("vad", speaking=True)
            return
        if self._partial_scope:
            self._partial_scope.cancel()
        if not event.speaking:
            await self._socket.send("vad", speaking=False)
        if event.utterance:
            self._utterance_since_stop = True
            user_input = UserInput(pcm=event.utterance.pcm, waited_s=event.utterance.waited_s)
            await self._turns.add(user_input, self._turn_settings)

    async def _check_barge_in(self) -> None:
        endpointer = self._endpointer
        if (
            self._barge_in_checked
            or not endpointer.speaking
            or endpointer.continuing
            or endpointer.voiced_s < BARGE_IN_S
        ):
            return
        self._barge_in_checked = True
        cut_off = self._turns.first
        if not cut_off and not self._playback.playing:
            return
        # whoever only paused goes on with the same thought: both parts are one utterance
        if cut_off and cut_off.input.pcm and not cut_off.replied:
            endpointer.prepend(cut_off.input.pcm)
        await self._interrupt("speech")

    async def _interrupt(self, reason: str) -> None:
        """Stop the reply and the turns that wait. Silent when nothing was going on."""
        was_playing = self._playback.playing
        self._playback.stop()
        await self._turns.interrupt(reason, tell=was_playing)

    # --- the clock --------------------------------------------------------------------------------------------------

    async def _watch(self, tasks: TaskGroup) -> None:
        while True:
            await anyio.sleep(TICK_S)
            async with self._lock:
                await self._tick(tasks)

    async def _tick(self, tasks: TaskGroup) -> None:
        now = time.monotonic()
        if self._endpointer.speaking:
            self._active_at = now
            if now - self._audio_at > max(STALL_S, 2 * self._settings.conversation_silence_s):
                await self._on_speech(self._endpointer.stop())
            elif (
                self._socket.partials
                and self._settings.conversation_partials
                and now - self._partial_at >= PARTIAL_EVERY_S
            ):
                self._partial_at = now
                if self._partial_scope is None:
                    self._partial_scope = anyio.CancelScope()
                    tasks.start_soon(self._send_partial, self._partial_scope)
        elif not self._turns.first and now > self._playback.until:
            idle_s = self._settings.conversation_idle_s
            if now - max(self._active_at, self._turns.active_at) > idle_s:
                await self._socket.close(IDLE, f"nothing was said for {idle_s:g} s")

    async def _send_partial(self, scope: anyio.CancelScope) -> None:
        try:
            with scope:
                so_far, language = self._endpointer.so_far(), self._turn_settings.language
                transcript = await EarlyTranscription(self._context, self._key, so_far, language).run()
                if transcript and transcript.text.strip() and not scope.cancel_called:
                    await self._socket.send(
                        "transcript",
                        final=False,
                        turn=self._turns.next_number,
                        text=transcript.text,
                        language=transcript.language,
                        confidence=transcript.confidence,
                    )
        finally:
            self._partial_scope = None
