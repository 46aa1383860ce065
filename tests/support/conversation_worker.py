"""A stand-in for the worker of conversations: real wake-ups, real ledger, real streams, and a script for an engine.

Also the client's end of a conversation, as a person with a microphone uses it.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import redis
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from milo.chat.sessions import Sessions
from milo.errors import LeaseLost, MiloError
from milo.jobs import Job
from milo.ledger import Claim, Ledger
from milo.queue.streams import EventWriter
from milo.settings import Settings
from tests.support.servers import wait_until
from tests.support.speech_factory import spoken

RATE_HZ = 16_000
REPLY = ("Salama tompoko.", "Tsara fa misaotra.")
SENTENCE_S = 0.5


class Worker(threading.Thread):
    """Takes what arrives in the queues and follows the script; stops a job that was cancelled, as the runner does."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        super().__init__(daemon=True)
        self.settings, self.ledger = settings, ledger
        self.sessions = Sessions(settings)
        self.client = redis.Redis.from_url(settings.redis_url)
        self.go_on = threading.Event()
        """Cleared by a test: jobs stop before the second sentence until it is set."""
        self.go_on.set()
        self.begin = threading.Event()
        """Cleared by a test: jobs stop before they say anything."""
        self.begin.set()
        self.error: MiloError | None = None
        self.twice = False
        self.sentence_s = SENTENCE_S
        self.ended: list[Job] = []
        self.heard = "Manao ahoana"
        self._stop_now = threading.Event()
        self._threads: list[threading.Thread] = []

    def run(self) -> None:
        while not self._stop_now.is_set():
            found: Any = self.client.blpop(["gpu.realtime", "cpu"], timeout=0.2)
            if found and (job_id := json.loads(found[1])["headers"]["id"].split(".")[0]).startswith("job_"):
                thread = threading.Thread(target=self._work, args=(job_id,), daemon=True)
                thread.start()
                self._threads.append(thread)

    def done(self, count: int = 1) -> list[Job]:
        """The jobs as they ended, once there are so many."""
        wait_until(lambda: len(self.ended) >= count, f"{count} jobs were to end, and these did: {self.ended}")
        return self.ended

    def stop(self) -> None:
        self._stop_now.set()
        self.go_on.set()
        self.begin.set()
        for thread in [self, *self._threads]:
            thread.join(10)

    def _work(self, job_id: str) -> None:
        claim = self.ledger.claim(job_id, "test-worker")
        if claim is None:
            return
        try:
            job = self._partial(claim) if claim.job.kind == "stt" else self._converse(claim)
        except LeaseLost:
            job = self.ledger.get(job_id)
        self.ended.append(job)

    def _partial(self, claim: Claim) -> Job:
        from tests.api.conftest import transcript

        return self.ledger.finish(claim, transcript(f"{self.heard}…"))

    def _cancelled(self, claim: Claim) -> bool:
        return bool(self.ledger.renew([claim]).cancelled) or self._stop_now.is_set()

    def _wait(self, claim: Claim, gate: threading.Event) -> bool:
        """False when the job was cancelled meanwhile."""
        while not gate.wait(0.02):
            if self._cancelled(claim):
                return False
        return not self._cancelled(claim)

    def _converse(self, claim: Claim) -> Job:
        payload = claim.job.payload
        spoken_to = claim.job.kind == "converse"
        if not self._wait(claim, self.begin):
            return self.ledger.cancelled(claim)
        speaker = EventWriter(self.settings, claim.job.id)
        if self.error:
            return self.ledger.fail(claim, self.error)
        if spoken_to:
            speaker.say("transcript", {"text": self.heard, "language": "mg", "confidence": 0.9, "final": True})
        speaker.say("mode", {"mode": "local"})
        if self.twice:
            speaker.say("delta", {"text": "Sala"})
            speaker = EventWriter(self.settings, claim.job.id)
        pcm = (np.sin(np.arange(int(self.sentence_s * RATE_HZ)) / 20) * 8000).astype("<i2").tobytes()
        for index, sentence in enumerate(REPLY):
            if index == 1 and not self._wait(claim, self.go_on):
                return self.ledger.cancelled(claim)
            speaker.say("delta", {"text": sentence})
            if index == len(REPLY) - 1 and spoken_to:
                speaker.say("reply_text", {"text": " ".join(REPLY)})
            if spoken_to or payload["voice_mode"]:
                speaker.say(
                    "audio", {"sample_rate_hz": RATE_HZ, "text": sentence, "last": index == len(REPLY) - 1}, pcm
                )
        self.sessions.leave(claim.job.owner, payload["session_id"], payload["ticket"])
        result = {"reply": " ".join(REPLY), "mode": "local", "session_id": payload["session_id"], "language": "mg"}
        speaker.say("end", result)
        return self.ledger.finish(claim, result)


@contextmanager
def working(settings: Settings, ledger: Ledger) -> Iterator[Worker]:
    """A worker for as long as the block lasts."""
    worker = Worker(settings, ledger)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


def without_partials(settings: Settings) -> Settings:
    """No jobs but those that a test asks for."""
    return settings.model_copy(update={"conversation_partials": False})


# --- the client -------------------------------------------------------------------------------------------------------


def speech(number: int = 0) -> bytes:
    """A spoken sentence: int16 LE at 16 kHz."""
    return (spoken(number) * 32767).astype("<i2").tobytes()


def silence(seconds: float) -> bytes:
    return bytes(round(seconds * RATE_HZ) * 2)


class Caller:
    """The client's end of a conversation. `events` is everything received."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.events: list[dict[str, Any]] = []

    def say(self, audio: bytes, frame_bytes: int = 3200) -> None:
        for start in range(0, len(audio), frame_bytes):
            self.connection.send(audio[start : start + frame_bytes])

    def send(self, kind: str, **fields: Any) -> None:
        self.connection.send(json.dumps({"type": kind, **fields}))

    def next(self, timeout_s: float = 20) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.connection.recv(timeout=timeout_s))
        self.events.append(event)
        return event

    def until(self, kind: str, timeout_s: float = 20, **fields: Any) -> dict[str, Any]:
        """The next event of this type with these fields; what comes before it is kept in `events`."""
        deadline = time.monotonic() + timeout_s
        while True:
            event = self.next(deadline - time.monotonic())
            if event["type"] == kind and fields.items() <= event.items():
                return event

    def types(self) -> list[str]:
        return [event["type"] for event in self.events]

    def closed(self, timeout_s: float = 20) -> tuple[int, str]:
        """Code and reason, when the server has closed the socket."""
        try:
            while True:
                self.next(timeout_s)
        except ConnectionClosed as closed:
            assert closed.rcvd is not None, "the connection was dropped without a close frame"
            return closed.rcvd.code, closed.rcvd.reason


def address(url: str, **query: str) -> str:
    from urllib.parse import urlencode

    return f"{url.replace('http', 'ws', 1)}/api/v1/conversation" + (f"?{urlencode(query)}" if query else "")


@contextmanager
def calling(url: str, secret: str, **query: str) -> Iterator[Caller]:
    """A conversation that has been accepted."""
    headers = {"Authorization": f"Bearer {secret}"}
    with connect(address(url, **query), additional_headers=headers, max_size=None, proxy=None) as connection:
        yield Caller(connection)
