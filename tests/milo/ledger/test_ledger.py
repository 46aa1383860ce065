"""The ledger, on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text

from milo.errors import Conflict, EngineError, Invalid, LeaseLost, NotFound, TooMany, Unavailable
from milo.jobs import Batch, Job, NewJob, Progress, new_id
from milo.ledger import Ledger, outbox
from milo.ledger.database import newest_revision, upgrade
from milo.settings import Settings


class Clock:
    """Time that moves when told to."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ledger(each_database: Settings) -> Iterator[Ledger]:
    opened = Ledger.open(each_database)
    opened.clock = Clock()
    yield opened
    opened.engine.dispose()


def clock(ledger: Ledger) -> Clock:
    assert isinstance(ledger.clock, Clock)
    return ledger.clock


def ping(**fields: Any) -> NewJob:
    return NewJob(**({"kind": "ping", "payload": {"seconds": 0}, "owner": "ana", "priority": "batch"} | fields))


def make_batch(ledger: Ledger, n: int, **fields: Any) -> Batch:
    batch = Batch(
        id=new_id("batch"), kind="ping", name="b", owner="ana", total=n, remaining=n, created_at=1.0, **fields
    )
    items = [ping(batch_id=batch.id, batch_index=i) for i in range(n)]
    return ledger.create_batch(batch, items, fingerprint="f")


def test_the_migrations_make_exactly_the_tables_of_the_schema(ledger: Ledger) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from milo.ledger.schema import metadata

    with ledger.engine.connect() as connection:
        lengths = connection.dialect.name != "sqlite"  # which ignores them
        options = {"compare_type": lengths, "include_name": lambda name, *_: not str(name).startswith("passages_index")}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []


def test_migrating_ends_at_the_revision_that_later_processes_look_for(ledger: Ledger) -> None:
    with ledger.engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == newest_revision()


def test_a_database_of_a_newer_milo_is_refused_with_a_sentence(ledger: Ledger) -> None:
    with ledger.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Unavailable, match="another version of Milo"):
        upgrade(ledger.engine, ledger.settings)


def test_a_job_goes_from_queued_over_running_to_succeeded(ledger: Ledger) -> None:
    job = ledger.create(ping())
    assert (job.state, job.queue, job.fence) == ("queued", "gpu.batch", 0)
    claim = ledger.claim(job.id, "w")
    assert claim and claim.fence == 1
    assert ledger.get(job.id).state == "running"
    ledger.finish(claim, {"pong": True}, audio_s=2.5, compute_s=1.0, models={"stt": "m@1"})
    done = ledger.get(job.id)
    assert (done.state, done.result, done.audio_s, done.models) == ("succeeded", {"pong": True}, 2.5, {"stt": "m@1"})
    assert done.finished_at is not None and done.version > job.version


def test_a_message_for_a_job_that_runs_or_has_ended_is_a_no_op(ledger: Ledger) -> None:
    job = ledger.create(ping())
    claim = ledger.claim(job.id, "w")
    assert claim
    assert ledger.claim(job.id, "other") is None
    ledger.finish(claim)
    assert ledger.claim(job.id, "other") is None
    assert ledger.claim("job_unknown", "other") is None


def test_of_many_workers_at_once_exactly_one_gets_the_job(ledger: Ledger) -> None:
    job = ledger.create(ping())
    start = threading.Barrier(8)
    won: list[Any] = []

    def work(n: int) -> None:
        start.wait()
        if claim := ledger.claim(job.id, f"w{n}"):
            won.append(claim)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


def test_a_worker_whose_lease_ran_out_can_change_nothing_any_more(ledger: Ledger) -> None:
    job = ledger.create(ping(callback_url="https://example.org/"))
    zombie = ledger.claim(job.id, "zombie")
    assert zombie
    clock(ledger).now += ledger.settings.lease_s + 1
    heir = ledger.claim(job.id, "heir")
    assert heir and heir.fence == 2 and heir.job.attempt == 2
    for late in (
        lambda: ledger.finish(zombie, {"wrong": True}),
        lambda: ledger.fail(zombie, EngineError("x")),
        lambda: ledger.release(zombie),
        lambda: ledger.cancelled(zombie),
    ):
        with pytest.raises(LeaseLost):
            late()
    assert ledger.renew([zombie]).lost == [job.id]
    assert outbox.log_of(ledger.engine, job_id=job.id) == []
    ledger.finish(heir, {"right": True})
    assert ledger.get(job.id).result == {"right": True}
    assert len(outbox.log_of(ledger.engine, job_id=job.id)) == 1


def test_a_renewed_lease_keeps_the_job_and_publishes_progress(ledger: Ledger) -> None:
    job = ledger.create(ping())
    claim = ledger.claim(job.id, "w")
    assert claim
    for _ in range(5):
        clock(ledger).now += ledger.settings.lease_s - 1
        renewal = ledger.renew([claim], {job.id: Progress(done=3, total=10, unit="s")})
        assert renewal.lost == [] and renewal.cancelled == []
        assert ledger.reap() == []
    seen = ledger.get(job.id)
    assert (seen.progress.done, seen.progress.total, seen.progress.unit) == (3, 10, "s")


def test_a_released_slice_goes_on_without_counting_as_an_attempt(ledger: Ledger) -> None:
    job = ledger.create(ping(max_attempts=2))
    for n in range(5):
        claim = ledger.claim(job.id, "w")
        assert claim and claim.fence == n + 1
        released = ledger.release(claim, compute_s=1.0)
        assert (released.state, released.attempt, released.slices) == ("queued", 1, n + 1)
    assert ledger.get(job.id).compute_s == 5


def test_a_stage_ends_by_moving_the_job_to_the_queue_of_the_next(ledger: Ledger) -> None:
    source = {"blob": "0" * 64, "name": "a"}
    job = ledger.create(ping(kind="stt", payload={"source": source, "model": "m"}))
    assert (job.stage, job.queue) == ("decode", "cpu.batch")
    claim = ledger.claim(job.id, "cpu")
    assert claim
    ledger.release(claim, stage="transcribe", audio_s=12.0)
    moved = ledger.get(job.id)
    assert (moved.stage, moved.queue, moved.audio_s) == ("transcribe", "gpu.batch", 12.0)
    assert ledger.decoded_ahead_s() == 12.0


def test_a_retry_waits_for_its_time(ledger: Ledger) -> None:
    job = ledger.create(ping())
    claim = ledger.claim(job.id, "w")
    assert claim
    ledger.release(claim, retry=True, due_in_s=10)
    assert ledger.claim(job.id, "w") is None
    assert ledger.unpublished({"gpu.batch": 0}) == []
    clock(ledger).now += 11
    assert [found.id for found in ledger.unpublished({"gpu.batch": 5})] == [job.id]
    again = ledger.claim(job.id, "w")
    assert again and again.job.attempt == 2


def test_a_job_whose_worker_died_too_often_goes_to_the_dead_letters(ledger: Ledger) -> None:
    job = ledger.create(ping(max_attempts=3, callback_url="https://example.org/"))
    for attempt in (1, 2):
        assert ledger.claim(job.id, "w")
        clock(ledger).now += ledger.settings.lease_s + 1
        (queued,) = ledger.reap()
        assert queued.attempt == attempt + 1
    assert ledger.claim(job.id, "w")
    clock(ledger).now += ledger.settings.lease_s + 1
    assert ledger.reap() == []
    dead = ledger.get(job.id)
    assert dead.state == "failed" and dead.error and dead.error["code"] == "worker_lost"
    assert "3 times" in dead.error["detail"]
    assert len(outbox.log_of(ledger.engine, job_id=job.id)) == 1
    assert ledger.retry(job.id).attempt == 1
    assert ledger.claim(job.id, "w")


def test_a_worker_that_starts_anew_gives_back_what_its_last_life_held(ledger: Ledger) -> None:
    mine, other = ledger.create(ping()), ledger.create(ping())
    assert ledger.claim(mine.id, "gpu/0") and ledger.claim(other.id, "gpu/1")
    assert [job.id for job in ledger.reap(worker="gpu/0")] == [mine.id]
    assert ledger.get(other.id).state == "running"


def test_a_batch_is_filled_with_the_oldest_jobs_of_equal_options(ledger: Ledger) -> None:
    first = ledger.create(ping())
    clock(ledger).now += 1
    second = ledger.create(ping())
    ledger.create(ping(payload={"seconds": 1}))
    ledger.create(ping(priority="interactive"))
    poison = ledger.create(ping())
    claim = ledger.claim(poison.id, "w")
    assert claim
    ledger.release(claim, retry=True)
    clock(ledger).now += 1
    third = ledger.create(ping())
    assert ledger.claim(first.id, "w")
    assert [taken.job.id for taken in ledger.claim_like(first, "w", 1)] == [second.id]
    assert [taken.job.id for taken in ledger.claim_like(first, "w", 10)] == [third.id]


def test_cancelling_a_queued_job_is_immediate_and_a_running_one_is_asked_to_stop(ledger: Ledger) -> None:
    queued, running = ledger.create(ping()), ledger.create(ping())
    claim = ledger.claim(running.id, "w")
    assert claim
    assert ledger.cancel(queued.id).state == "cancelled"
    assert ledger.cancel(running.id).state == "running"
    assert ledger.renew([claim]).cancelled == [running.id]
    assert ledger.cancelled(claim).state == "cancelled"
    assert ledger.cancel(running.id).state == "cancelled"
    assert ledger.claim(queued.id, "w") is None


def test_a_job_that_is_cancelled_before_its_next_stage_ends_cancelled(ledger: Ledger) -> None:
    batch = make_batch(ledger, 1)
    [job] = ledger.batch_jobs(batch.id)
    claim = ledger.claim(job.id, "w")
    assert claim
    ledger.cancel(job.id)
    assert ledger.release(claim, stage="ping").state == "cancelled"
    assert ledger.batch(batch.id).state == "cancelled"
    with pytest.raises(LeaseLost):
        ledger.release(claim)


def test_a_cancelled_job_whose_worker_died_ends_cancelled(ledger: Ledger) -> None:
    job = ledger.create(ping())
    assert ledger.claim(job.id, "w")
    ledger.cancel(job.id)
    clock(ledger).now += ledger.settings.lease_s + 1
    assert ledger.claim(job.id, "w2") is None
    assert ledger.reap() == []
    assert ledger.get(job.id).state == "cancelled"


def test_a_job_cancelled_while_it_is_taken_back_is_not_left_in_the_queue(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = ledger.create(ping())
    assert ledger.claim(job.id, "w")
    clock(ledger).now += ledger.settings.lease_s + 1
    decide = ledger._after_loss

    def cancelled_meanwhile(job: Job) -> dict[str, Any]:
        decided = decide(job)
        ledger.cancel(job.id)
        return decided

    monkeypatch.setattr(ledger, "_after_loss", cancelled_meanwhile)
    assert ledger.reap() == []
    monkeypatch.undo()
    ledger.reap()
    assert ledger.get(job.id).state == "cancelled"


def test_only_a_failed_or_cancelled_job_can_be_tried_again(ledger: Ledger) -> None:
    job = ledger.create(ping())
    with pytest.raises(Conflict, match="is queued"):
        ledger.retry(job.id)
    with pytest.raises(NotFound):
        ledger.retry("job_unknown")


def test_the_same_idempotency_key_gives_the_first_job_again(ledger: Ledger) -> None:
    first = ledger.create(ping(idempotency_key="k", fingerprint="a"))
    again = ledger.create(ping(idempotency_key="k", fingerprint="a"))
    assert again.id == first.id
    with pytest.raises(Invalid, match="different request"):
        ledger.create(ping(idempotency_key="k", fingerprint="b"))
    assert ledger.create(ping(idempotency_key="k", fingerprint="b", owner="bema")).id != first.id


def test_two_first_requests_with_one_key_at_once_make_one_job(ledger: Ledger) -> None:
    start = threading.Barrier(6)
    ids: list[str] = []

    def send() -> None:
        start.wait()
        ids.append(ledger.create(ping(idempotency_key="k", fingerprint="a")).id)

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 6 and len(set(ids)) == 1
    assert len(ledger.jobs(owner="ana")) == 1


def test_a_batch_counts_its_jobs_and_tells_its_receiver_once(ledger: Ledger) -> None:
    batch = make_batch(ledger, 3, callback_url="https://example.org/")
    a, b, c = ledger.batch_jobs(batch.id)
    assert batch.counts == {"queued": 3} and batch.state == "queued"
    claim = ledger.claim(a.id, "w")
    assert claim
    ledger.finish(claim)
    failing = ledger.claim(b.id, "w")
    assert failing
    ledger.fail(failing, EngineError("broken"))
    assert ledger.batch(batch.id).state == "running"
    assert outbox.log_of(ledger.engine, batch_id=batch.id) == []
    ledger.cancel(c.id)
    done = ledger.batch(batch.id)
    assert done.state == "failed" and done.remaining == 0 and done.finished_at is not None
    assert done.counts == {"succeeded": 1, "failed": 1, "cancelled": 1}
    assert len(outbox.log_of(ledger.engine, batch_id=batch.id)) == 1
    ledger.retry(b.id)
    assert ledger.batch(batch.id).remaining == 1


def test_cancelling_a_batch_ends_what_has_not_ended(ledger: Ledger) -> None:
    batch = make_batch(ledger, 5)
    first, *_ = ledger.batch_jobs(batch.id)
    claim = ledger.claim(first.id, "w")
    assert claim
    after = ledger.cancel_batch(batch.id)
    assert after.counts == {"cancelled": 4, "running": 1}
    assert ledger.renew([claim]).cancelled == [first.id]


def test_a_repeated_batch_request_gives_the_first_batch(ledger: Ledger) -> None:
    first = make_batch(ledger, 2, idempotency_key="k")
    assert make_batch(ledger, 2, idempotency_key="k").id == first.id
    assert len(ledger.jobs(owner="ana")) == 2


def test_the_quota_of_a_key_is_a_limit_with_a_retry_time(ledger: Ledger) -> None:
    ledger.settings = ledger.settings.model_copy(update={"max_queued_jobs": 3})
    for _ in range(3):
        ledger.create(ping())
    with pytest.raises(TooMany) as refused:
        ledger.create(ping())
    assert refused.value.retry_after_s
    assert ledger.create(ping(owner="bema"))


def test_jobs_of_other_owners_are_not_to_be_found(ledger: Ledger) -> None:
    job = ledger.create(ping())
    assert ledger.get(job.id, owner="ana").id == job.id
    with pytest.raises(NotFound):
        ledger.get(job.id, owner="bema")
    assert ledger.jobs(owner="bema") == []


def test_jobs_ahead_are_those_of_higher_priority_the_older_of_the_key_and_a_turn_of_each_other(ledger: Ledger) -> None:
    ledger.create(ping(priority="realtime"))
    ledger.create(ping())
    clock(ledger).now += 1
    mine = ledger.create(ping())
    clock(ledger).now += 1
    ledger.create(ping())
    ledger.create(ping(priority="background"))
    assert ledger.ahead(mine) == 2
    for owner, count in (("bema", 5), ("caro", 1)):
        for _ in range(count):
            ledger.create(ping(owner=owner))
    assert ledger.ahead(mine) == 2 + 2 + 1


def test_every_change_wakes_the_waiters_of_the_job_and_of_its_batch(ledger: Ledger) -> None:
    woken: list[str] = []
    ledger.notify = woken.extend
    batch = make_batch(ledger, 1)
    (job,) = ledger.batch_jobs(batch.id)
    for act in (lambda: ledger.claim(job.id, "w"), lambda: ledger.cancel(job.id)):
        woken.clear()
        act()
        assert set(woken) == {job.id, batch.id}
