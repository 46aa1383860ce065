"""A worker that is played by the test: it takes the next job, says what the test wants, and ends it so."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from milo.audio.formats import wav_header
from milo.errors import MiloError
from milo.jobs import Job
from milo.ledger import Ledger
from milo.ledger.store import Claim
from milo.queue.streams import EventWriter
from milo.settings import Settings
from milo.storage.files import Files
from tests.support.servers import wait_until

RATE_HZ = 16_000
Play = Callable[["Hand"], dict[str, Any] | MiloError]


class Hand:
    """One job in the hand of the test."""

    def __init__(self, settings: Settings, ledger: Ledger, claim: Claim) -> None:
        self.settings, self.ledger, self.claim = settings, ledger, claim
        self.speaker = EventWriter(settings, claim.job.id)
        self.file: str | None = None

    @property
    def job(self) -> Job:
        return self.claim.job

    def say(self, event: str, data: dict[str, Any], blob: bytes = b"") -> None:
        self.speaker.say(event, data, blob)

    def speak(self, pcm: bytes) -> None:
        """A sentence."""
        self.say("audio", {"sample_rate_hz": RATE_HZ}, pcm)

    def begin_again(self) -> None:
        """As if the worker had died, and another one had taken the job."""
        self.speaker = EventWriter(self.settings, self.job.id)

    def keep(self, pcm: bytes, format: str = "wav") -> dict[str, Any]:
        """Store the audio; what results say of it."""
        content = wav_header(len(pcm), RATE_HZ) + pcm if format == "wav" else pcm
        self.file = Files(self.settings).write_result(self.job.id, self.claim.fence, content, format)
        about = {"format": format, "sample_rate_hz": RATE_HZ, "duration_s": round(len(pcm) / 2 / RATE_HZ, 3)}
        return about | {"bytes": len(content)}


def tone(seconds: float, hz: float = 440.0) -> bytes:
    """Int16 samples."""
    wave = 0.3 * np.sin(2 * np.pi * hz * np.arange(round(RATE_HZ * seconds)) / RATE_HZ)
    return bytes((wave * 32767).astype("<i2").tobytes())


@contextmanager
def worker(settings: Settings, ledger: Ledger, *plays: Play) -> Iterator[None]:
    """Plays each job in turn, as they come. A play returns the result, or the error that the job fails with."""
    failed: list[BaseException] = []

    def work() -> None:
        try:
            for play in plays:
                _one(settings, ledger, play)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    yield
    thread.join(60)
    assert not failed, failed
    assert not thread.is_alive(), "the worker still waits"


def _one(settings: Settings, ledger: Ledger, play: Play) -> None:
    wait_until(lambda: bool(ledger.jobs(state="queued")), "no job came")
    claim = ledger.claim(ledger.jobs(state="queued")[-1].id, "by-hand")
    assert claim
    hand = Hand(settings, ledger, claim)
    outcome = play(hand)
    if isinstance(outcome, MiloError):
        ledger.fail(claim, outcome)
        return
    hand.say("end", outcome)
    if not ledger.get(claim.job.id).final:
        ledger.finish(claim, outcome, result_file=hand.file, compute_s=0.1, models={"test": "by-hand@1"})
