"""The reply on its way to the client: events of the turn's job become events of the socket."""

from __future__ import annotations

import base64
import time
from typing import Any

from api.conversation.frames import wav
from api.conversation.turn_context import TurnContext
from milo import metrics
from milo.queue.streams import JobEvent

STAGES = {"transcript_ms": "stt", "first_text_ms": "llm", "first_audio_ms": "tts"}
"""Which stage of a turn has its first output at each time."""


class ReplyRelay:
    """Relays one turn. After `stop` it sends nothing any more."""

    def __init__(self, context: TurnContext, number: int) -> None:
        self._context, self._number = context, number
        self._created = time.monotonic()
        self._times_ms: dict[str, int] = {}
        self._started = self._stopped = False
        self._sentences = 0
        self._transcript_sent = False
        self._whole_text_sent = False
        self.replied = False
        """Whether anything of the reply has been sent."""

    def stop(self) -> None:
        self._stopped = True

    @property
    def times_ms(self) -> dict[str, int]:
        """Milliseconds from the complete utterance to the first of each kind, and to now (`total_ms`)."""
        return self._times_ms | {"total_ms": self._now_ms()}

    async def relay(self, event: JobEvent) -> None:
        if event.event == "start":
            await self._start()
        elif event.event == "transcript":
            await self._transcript(event.data)
        elif event.event == "mode":
            await self._send("mode", mode=event.data.get("mode"))
        elif event.event == "delta":
            self._first("first_text_ms")
            self.replied = True
            await self._send("reply_delta", text=event.data.get("text", ""))
        elif event.event == "reply_text":
            await self._whole_text(str(event.data.get("text", "")))
        elif event.event == "audio":
            await self._audio(event)

    async def complete(self, result: dict[str, Any], spoken: bool) -> None:
        """Send what the job's result has and its events had not."""
        transcript = result.get("transcript")
        if isinstance(transcript, str) and not self._transcript_sent and spoken:
            await self._transcript({"text": transcript, "language": result.get("language")})
        reply = result.get("reply")
        if isinstance(reply, str) and reply and not self._whole_text_sent:
            await self._whole_text(reply)

    async def _start(self) -> None:
        """A worker begins; the second time, what came before it is void, and comes again."""
        if self._started and (self.replied or self._transcript_sent):
            await self._send("interrupted", reason="restarted")
            self._sentences, self._transcript_sent, self._whole_text_sent = 0, False, False
        self._started = True

    async def _transcript(self, data: dict[str, Any]) -> None:
        final = bool(data.get("final", True))
        if final and self._transcript_sent:  # it came ahead of its turn
            return
        if final:
            self._first("transcript_ms")
            self._transcript_sent = True
        fields = {name: data.get(name) for name in ("text", "language", "confidence")}
        await self._send("transcript", final=final, **fields)

    async def _whole_text(self, text: str) -> None:
        self._first("first_text_ms")
        self._whole_text_sent = self.replied = True
        await self._send("reply_text", text=text)

    async def _audio(self, event: JobEvent) -> None:
        rate_hz = int(event.data.get("sample_rate_hz") or 16_000)
        text = str(event.data.get("text") or "")
        last = bool(event.data.get("last"))
        audio = base64.b64encode(wav(event.blob, rate_hz)).decode()
        if "first_audio_ms" not in self._times_ms:
            metrics.FIRST_AUDIO_S.observe(time.monotonic() - self._created)
        self._first("first_audio_ms")
        self.replied = True
        if not self._stopped:
            self._context.audio_sent(len(event.blob) / 2 / rate_hz)
        await self._send("reply_audio", audio=audio, text=text, index=self._sentences, last=last)
        self._sentences += 1

    def _first(self, name: str) -> None:
        if name not in self._times_ms:
            now_ms = self._now_ms()
            before_ms = max(self._times_ms.values(), default=0)
            metrics.STAGE_S.labels(STAGES[name]).observe((now_ms - before_ms) / 1000)
            self._times_ms[name] = now_ms

    def _now_ms(self) -> int:
        return round((time.monotonic() - self._created) * 1000)

    async def _send(self, event: str, **fields: Any) -> None:
        if not self._stopped:  # a cancelled task may still take one step
            await self._context.socket.send(event, turn=self._number, **fields)
