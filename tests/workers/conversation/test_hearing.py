"""Utterances that wait are heard while somebody else listens to a reply."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from milo.audio.encode import encode
from milo.errors import MiloError
from milo.jobs import Job, NewJob
from milo.ledger import Ledger
from milo.protocols import FakeTranscriber
from milo.queue.connection import redis_client
from milo.settings import Settings
from milo.storage.files import Files
from workers import engines
from workers.conversation.hearing import EarlyTranscriber, transcript
from workers.work import RunningJob


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeTranscriber:
    fake = FakeTranscriber()

    @contextmanager
    def transcriber(settings: Settings, name: str) -> Iterator[FakeTranscriber]:
        yield fake

    monkeypatch.setattr(engines, "transcriber", transcriber)
    monkeypatch.setattr(engines, "is_loaded", lambda settings, name: name == "loaded")
    return fake


class Room:
    """Those who speak: jobs of conversations, each as long as it says."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self.settings, self.ledger, self.files = settings, ledger, Files(settings)

    def speaks(self, seconds: float, *, model: str = "loaded", sound: bytes | None = None) -> Job:
        sound = encode(np.zeros(round(seconds * 16_000), np.float32), 16_000, "wav") if sound is None else sound
        blob = self.files.put_blob(io.BytesIO(sound))
        source = {"blob": blob.id, "name": "utterance.wav"}
        payload = {"source": source, "session_id": "s", "ticket": 1, "stt_model": model, "tts_model": "espeak"}
        new = NewJob(kind="converse", payload=payload, owner="ana", priority="realtime")
        return self.ledger.create(new)

    def turn_of(self, job: Job) -> RunningJob:
        claim = self.ledger.claim(job.id, "w")
        assert claim
        return RunningJob(claim, self.settings, self.ledger, self.files)

    def said_to(self, job: Job) -> list[tuple[str, str]]:
        """What is on the stream of a job: the event and its text."""
        entries = redis_client(self.settings.redis_url).xrange(f"milo:said:{job.id}")
        return [(fields[b"event"].decode(), json.loads(fields[b"data"]).get("text", "")) for _, fields in entries]


@pytest.fixture
def room(settings: Settings, ledger: Ledger) -> Room:
    return Room(settings, ledger)


def test_those_who_wait_are_heard_ahead_once_and_told_what_was_understood(room: Room, engine: FakeTranscriber) -> None:
    ears = EarlyTranscriber()
    first, second, third = (room.speaks(seconds) for seconds in (1, 2, 3))
    running = room.turn_of(first)
    assert len(list(ears.hear_waiting(running, spare_s=60))) == 2 and not list(ears.hear_waiting(running, spare_s=60))
    assert [room.said_to(job) for job in (first, second, third)] == [
        [],
        [("transcript", "2.00")],
        [("transcript", "3.00")],
    ]
    calls = len(engine.calls)
    assert transcript(ears.hear(room.turn_of(second)), None)["text"] == "2.00" and len(engine.calls) == calls
    assert ears.hear(running)[0].text == "1.00" and len(engine.calls) == calls + 1


def test_nobody_is_heard_ahead_without_time_in_a_second_attempt_or_with_a_model_to_be_loaded(
    room: Room, engine: FakeTranscriber
) -> None:
    ears = EarlyTranscriber()
    running = room.turn_of(room.speaks(1))
    other = room.speaks(1, model="elsewhere")
    assert not list(ears.hear_waiting(running, spare_s=60))
    room.speaks(2)
    assert not list(ears.hear_waiting(running, spare_s=-1))
    running.claim.job.__dict__["attempt"] = 2
    assert not list(ears.hear_waiting(running, spare_s=60)) and engine.calls == [] and room.said_to(other) == []


def test_an_utterance_that_can_not_be_heard_fails_in_its_own_turn_only(room: Room, engine: FakeTranscriber) -> None:
    ears = EarlyTranscriber()
    running, broken = room.turn_of(room.speaks(1)), room.speaks(0, sound=b"no sound at all")
    assert len(list(ears.hear_waiting(running, spare_s=60))) == 1 and room.said_to(broken) == []
    with pytest.raises(MiloError):
        ears.hear(room.turn_of(broken))
