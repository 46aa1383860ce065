"""What a long queue costs: the database's own steps, which no busy machine changes, at two lengths of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, insert

from milo.jobs import NewJob
from milo.ledger import Ledger
from milo.ledger.database import writing
from milo.ledger.schema import jobs
from milo.ledger.store import AT_ONCE
from milo.settings import Settings

SHORT, LONG = 600, 6_000
STEPS = 50


class Counted:
    """A ledger whose database counts its steps."""

    def __init__(self, home: Path) -> None:
        self.ledger = Ledger.open(Settings(home=home, _env_file=None))
        self.ledger.engine.dispose()
        self.steps = 0
        event.listen(self.ledger.engine, "connect", self._count)

    def _count(self, connection: sqlite3.Connection, _record: Any) -> None:
        def step() -> int:
            self.steps += STEPS
            return 0

        connection.set_progress_handler(step, STEPS)

    def cost(self, act: Callable[[], object]) -> int:
        self.steps = 0
        act()
        return self.steps

    def fill(self, count: int) -> None:
        """Jobs that wait to be transcribed and spoken, of a few keys, and as many that are done."""
        payloads = {"stt": {"source": {"blob": "0" * 64}, "model": "m"}, "tts": {"text": "a", "model": "espeak"}}
        rows = []
        for index in range(count):
            kind = ("stt", "tts")[index % 2]
            new = NewJob(kind=kind, payload=payloads[kind], owner=f"key-{index % 5}", priority="batch")
            queued = self.ledger._row(new) | {"stage": "transcribe" if kind == "stt" else "speak", "queue": "gpu.batch"}
            done = self.ledger._row(new) | {"state": "succeeded", "finished_at": float(index), "audio_s": 1.0}
            rows += [queued, done]
        with writing(self.ledger.engine) as tx:
            tx.execute(insert(jobs), rows)


@pytest.fixture
def counted(tmp_path: Path) -> Iterator[Counted]:
    made = Counted(tmp_path)
    yield made
    made.ledger.engine.dispose()


def rare(ledger: Ledger) -> NewJob:
    return NewJob(kind="ping", payload={"seconds": 0}, owner="rare", priority="batch")


def claim_and_finish(ledger: Ledger) -> None:
    claim = ledger.claim(ledger.create(rare(ledger)).id, "w")
    assert claim
    assert ledger.claim_like(claim.job, "w", 16) == []
    ledger.renew([claim])
    ledger.finish(claim, {})


def claim_in_turn(ledger: Ledger) -> None:
    claim = ledger.claim_next("gpu.batch", "job_unknown", "w", "key-3")
    assert claim and claim.job.owner == "key-4"
    assert len(ledger.claim_like(claim.job, "w", 16)) == 16


def lost_some(ledger: Ledger, depth: int) -> None:
    """All are older than the grace."""
    now = ledger.clock
    ledger.clock = lambda: now() + 60
    assert bool(ledger.unpublished({"gpu.batch": depth})) == (depth < AT_ONCE)
    ledger.clock = now


ACTS: dict[str, Callable[[Ledger], object]] = {
    "submit": lambda ledger: ledger.create(rare(ledger)),
    "claim and finish": claim_and_finish,
    "list": lambda ledger: ledger.jobs(limit=20),
    "list of a key": lambda ledger: ledger.jobs(owner="key-1", limit=20),
    "list of failed ones": lambda ledger: ledger.jobs(state="failed", limit=20),
    "list of a kind that is rare": lambda ledger: ledger.jobs(kind="chat", limit=20),
    "audio decoded ahead": lambda ledger: ledger.decoded_ahead_s(),
    "leases that ran out": lambda ledger: ledger.reap(),
    "claim in turn, with like ones": claim_in_turn,
    "lost messages, in a busy queue": lambda ledger: lost_some(ledger, SHORT),
    "lost messages, in a queue that was flushed": lambda ledger: lost_some(ledger, 0),
    "speed of a kind that is rare": lambda ledger: ledger.seconds_per_job("chat"),
}


@pytest.mark.parametrize("name", ACTS)
def test_a_backlog_ten_times_as_long_costs_no_more(name: str, counted: Counted) -> None:
    counted.fill(SHORT)
    act = ACTS[name]
    act(counted.ledger)
    before = counted.cost(lambda: act(counted.ledger))
    counted.fill(LONG - SHORT)
    after = counted.cost(lambda: act(counted.ledger))
    assert after <= before * 1.5 + 4 * STEPS, f"{before} steps with {SHORT} jobs, {after} with {LONG}"


def test_counting_a_queue_reads_an_index_and_no_rows(counted: Counted) -> None:
    counted.fill(LONG)
    job = counted.ledger.create(rare(counted.ledger))
    assert counted.cost(lambda: counted.ledger.ahead(job)) < 10 * LONG
    assert counted.cost(counted.ledger.counts) < 8 * LONG
