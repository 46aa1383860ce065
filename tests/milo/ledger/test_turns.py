"""Whose turn it is, and which messages are missing, on SQLite and on PostgreSQL."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import insert, update

from milo.jobs import Job, NewJob
from milo.ledger import Claim, Ledger
from milo.ledger.database import writing
from milo.ledger.schema import jobs
from milo.settings import Settings
from tests.milo.ledger.test_ledger import Clock

QUEUE = "gpu.batch"


@pytest.fixture
def ledger(each_database: Settings) -> Iterator[Ledger]:
    opened = Ledger.open(each_database)
    opened.clock = Clock()
    yield opened
    opened.engine.dispose()


def later(ledger: Ledger, seconds: float) -> None:
    assert isinstance(ledger.clock, Clock)
    ledger.clock.now += seconds


def past_the_grace(ledger: Ledger) -> None:
    later(ledger, ledger.settings.lost_after_s + 1)


def ping(owner: str = "ana", **fields: Any) -> NewJob:
    return NewJob(**({"kind": "ping", "payload": {"seconds": 0}, "owner": owner, "priority": "batch"} | fields))


def fill(ledger: Ledger, owner: str, count: int) -> list[str]:
    """Queue so many jobs of an owner at once, a millisecond apart; their ids, the oldest first."""
    rows = []
    for _ in range(count):
        later(ledger, 0.001)
        rows.append(ledger._row(ping(owner)))
    with writing(ledger.engine) as tx:
        tx.execute(insert(jobs), rows)
    return [row["id"] for row in rows]


class Turns:
    """A worker that remembers whose turn was last."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.last = ledger, ""

    def take(self, job_id: str, queue: str = QUEUE) -> Claim | None:
        claim = self.ledger.claim_next(queue, job_id, "w", self.last)
        self.last = claim.job.owner if claim else self.last
        return claim


def test_the_few_jobs_of_a_key_do_not_wait_for_the_many_of_another(ledger: Ledger) -> None:
    many, few = fill(ledger, "ana", 40), fill(ledger, "bema", 5)
    worker, order = Turns(ledger), []
    for message in many + few:
        claim = worker.take(message)
        assert claim
        order.append(claim.job.id)
    assert set(few) <= set(order[:10])
    assert [one for one in order if one in set(few)] == few
    assert [one for one in order if one not in set(few)] == many, "the oldest first, within a key"
    assert worker.take(many[0]) is None


def test_owners_go_round_whatever_the_names_of_their_messages(ledger: Ledger) -> None:
    ids = [one for owner in ("ana", "bema", "caro") for one in fill(ledger, owner, 3)]
    random.Random(1).shuffle(ids)
    worker = Turns(ledger)
    claims = [worker.take(message) for message in ids]
    assert [claim.job.owner for claim in claims if claim] == ["ana", "bema", "caro"] * 3


def test_many_workers_at_once_share_the_jobs_out_and_none_goes_empty_handed(ledger: Ledger) -> None:
    messages = fill(ledger, "ana", 20) + fill(ledger, "bema", 20)
    start, taken = threading.Barrier(4), []

    def work(mine: list[str]) -> None:
        start.wait()
        worker = Turns(ledger)
        taken.extend(worker.take(message) for message in mine)

    threads = [threading.Thread(target=work, args=(messages[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claim.job.id for claim in taken if claim) == sorted(messages)


def test_a_message_takes_no_job_of_another_queue(ledger: Ledger) -> None:
    source = {"blob": "0" * 64, "name": "a"}
    moved, waiting = (ledger.create(ping(kind="stt", payload={"source": source, "model": "m"})) for _ in range(2))
    claim = ledger.claim(moved.id, "cpu")
    assert claim
    ledger.release(claim, stage="transcribe")
    worker = Turns(ledger)
    first = worker.take(moved.id, "cpu.batch")
    assert first and first.job.id == waiting.id, "the job has gone on; its old message wakes the next of its queue"
    assert worker.take(waiting.id, "cpu.batch") is None
    second = worker.take(waiting.id, QUEUE)
    assert second and second.job.id == moved.id


def test_a_message_of_a_job_whose_lease_ran_out_takes_that_job_first(ledger: Ledger) -> None:
    dead = ledger.create(ping("bema"))
    assert ledger.claim(dead.id, "dead")
    fill(ledger, "ana", 2)
    assert Turns(ledger).take("job_unknown")
    later(ledger, ledger.settings.lease_s + 1)
    claim = Turns(ledger).take(dead.id)
    assert claim and (claim.job.id, claim.job.attempt, claim.fence) == (dead.id, 2, 2)


def test_what_is_not_due_cancelled_or_of_a_newer_milo_has_no_turn(ledger: Ledger) -> None:
    waits, cancelled, newer, paused = fill(ledger, "ana", 4)
    claim = ledger.claim(waits, "w")
    assert claim
    ledger.release(claim, due_in_s=100, retry=True)
    ledger.cancel(cancelled)
    with writing(ledger.engine) as tx:
        tx.execute(update(jobs).where(jobs.c.id == newer).values(schema_version=99))
        tx.execute(update(jobs).where(jobs.c.id == paused).values(cancel_requested=True))
    worker = Turns(ledger)
    assert [worker.take(one) for one in (waits, cancelled, newer, paused)] == [None] * 4
    (last,) = fill(ledger, "bema", 1)
    assert worker.take(cancelled) is None, "its message goes with it"
    taken = worker.take(waits)
    assert taken and taken.job.id == last
    later(ledger, 101)
    due = worker.take(waits)
    assert due and (due.job.id, due.job.attempt) == (waits, 2)


def test_a_worker_that_took_a_batch_drops_as_many_messages_of_jobs_that_wait_no_longer(ledger: Ledger) -> None:
    first, second, third = fill(ledger, "ana", 3)
    assert ledger.claim(first, "w") and ledger.claim(second, "w")
    assert ledger.claim_next(QUEUE, second, "w", spare=True) is None
    taken = ledger.claim_next(QUEUE, third, "w", spare=True)
    assert taken and taken.job.id == third


def test_a_batch_is_filled_by_the_owners_in_turn(ledger: Ledger) -> None:
    owners = {"ana": fill(ledger, "ana", 40), "bema": fill(ledger, "bema", 3), "caro": fill(ledger, "caro", 40)}
    first = ledger.claim(owners["ana"].pop(0), "w")
    assert first
    some = ledger.claim_like(first.job, "w", 8)
    assert [one.job.owner for one in some] == ["bema", "caro", "ana", "bema", "caro", "ana", "bema", "caro"]
    assert ledger.claim_like(first.job, "w", 1, after="caro")[0].job.owner == "ana"
    assert ledger.claim_like(first.job, "w", 1, after="ana")[0].job.owner == "caro"
    rest = ledger.claim_like(first.job, "w", 100)
    assert len(rest) == 82 - 10 and ledger.claim_like(first.job, "w", 100) == []
    for owner in ("ana", "caro"):
        mine = [one.job.id for one in rest if one.job.owner == owner]
        assert mine == owners[owner][-len(mine) :], "the oldest first"


def test_more_owners_than_places_each_get_their_turn(ledger: Ledger) -> None:
    for number in range(6):
        fill(ledger, f"key-{number}", 4)
    first = Turns(ledger).take("job_unknown")
    assert first
    last, seen = first.job.owner, Counter({first.job.owner: 1})
    for _ in range(5):
        taken = ledger.claim_like(first.job, "w", 4, after=last)
        last = taken[-1].job.owner
        seen.update(one.job.owner for one in taken)
    assert sum(seen.values()) == 21 and max(seen.values()) - min(seen.values()) <= 1


# --- lost messages ----------------------------------------------------------------------------------------------------


def lost(ledger: Ledger, depth: int) -> list[Job]:
    return ledger.unpublished({QUEUE: depth})


def test_the_messages_of_a_flushed_queue_are_found_missing_after_the_grace(ledger: Ledger) -> None:
    job = ledger.create(ping())
    assert lost(ledger, 0) == []
    past_the_grace(ledger)
    assert lost(ledger, 1) == []
    assert [found.id for found in lost(ledger, 0)] == [job.id]
    assert ledger.get(job.id).published_at == job.published_at, "its place in the queue stays its own"


def test_as_many_messages_are_missing_as_rows_are_more(ledger: Ledger) -> None:
    ids = fill(ledger, "ana", 6)
    past_the_grace(ledger)
    fill(ledger, "ana", 3)
    assert [[found.id for found in lost(ledger, depth)] for depth in (4, 6, 18)] == [ids[4:], [], []]


def test_a_queue_that_was_long_and_lost_some_messages_ends_all_the_same(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("milo.ledger.recover.AT_ONCE", 10)
    messages, rounds = fill(ledger, "ana", 40), 0
    past_the_grace(ledger)
    rng, worker, done = random.Random(2), Turns(ledger), 0
    rng.shuffle(messages)
    del messages[25:]
    assert lost(ledger, len(messages)) == [], "there is enough to wake the workers"
    while messages and rounds < 20:
        rounds += 1
        some, messages = messages[:4], messages[4:]
        done += sum(worker.take(message) is not None for message in some)
        messages += [job.id for job in lost(ledger, len(messages))]
    assert done == 40 and not messages


def test_the_backlog_of_a_busy_key_is_not_published_again(ledger: Ledger) -> None:
    rows = fill(ledger, "ana", 1_000)
    past_the_grace(ledger)
    rows += fill(ledger, "bema", 50)
    messages, rng, worker = list(rows), random.Random(3), Turns(ledger)
    while len(messages) > 50:
        for _ in range(3):
            claim = worker.take(messages.pop(rng.randrange(len(messages))))
            assert claim
            ledger.finish(claim)
        ended = rng.sample(rows, 97)  # some of them ran before
        with writing(ledger.engine) as tx:
            which = update(jobs).where(jobs.c.id.in_(ended), jobs.c.state == "queued")
            taken = tx.execute(which.values(state="succeeded")).rowcount
        del messages[:taken]
        later(ledger, 2)
        assert lost(ledger, len(messages)) == []
