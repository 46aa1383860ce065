"""What beat asks for: nothing stays lost, nothing stays for ever."""

from __future__ import annotations

import io
import os
import time
from typing import Any

import pytest
import redis
from sqlalchemy import func, select

from milo.errors import EngineError
from milo.jobs import Batch, Job, NewJob, new_id
from milo.ledger import Ledger, outbox
from milo.ledger.schema import batches, idempotency, jobs, webhook_attempts, webhooks
from milo.settings import Settings
from milo.storage.files import Files
from workers import maintenance

DAY_S = 86_400


@pytest.fixture
def files(settings: Settings) -> Files:
    return Files(settings)


def new(**fields: Any) -> NewJob:
    return NewJob(**({"kind": "ping", "payload": {"seconds": 0}, "owner": "ana", "priority": "batch"} | fields))


def ended(ledger: Ledger, job: Job, days_ago: float) -> None:
    claim = ledger.claim(job.id, "w")
    assert claim
    ledger.clock = lambda: time.time() - days_ago * DAY_S
    ledger.finish(claim)
    ledger.clock = time.time


def count(ledger: Ledger, table: Any) -> int:
    with ledger.engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def test_the_reconciler_publishes_what_no_message_will_wake(
    settings: Settings, ledger: Ledger, redis_client: redis.Redis
) -> None:
    lost, leaseless = ledger.create(new()), ledger.create(new())
    assert ledger.claim(leaseless.id, "dead worker")
    later = time.time() + settings.lease_s + settings.lost_after_s
    ledger.clock = lambda: later
    assert maintenance.reconcile(settings, ledger) == 2
    assert redis_client.llen("gpu.batch") == 2
    assert {ledger.get(job.id).state for job in (lost, leaseless)} == {"queued"}
    assert maintenance.reconcile(settings, ledger) == 0


def test_while_redis_is_away_the_reconciler_waits(settings: Settings, ledger: Ledger) -> None:
    job = ledger.create(new())
    later = time.time() + settings.lost_after_s + 1
    ledger.clock = lambda: later
    away = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    assert maintenance.reconcile(away, ledger) == 0
    assert ledger.get(job.id).published_at == job.published_at


def test_only_one_sender_of_webhooks_works_at_a_time(
    settings: Settings, ledger: Ledger, redis_client: redis.Redis
) -> None:
    job = ledger.create(new(callback_url="http://127.0.0.1:1/", owner="operator"))
    ended(ledger, job, 0)
    with redis_client.lock("milo:webhook-sender"):
        assert maintenance.deliver_webhooks(settings, ledger) == 0
    assert maintenance.deliver_webhooks(settings, ledger) == 1
    assert outbox.log_of(ledger.engine, job_id=job.id)[0]["state"] == "failed"


def test_the_lock_of_a_sender_that_was_killed_soon_ends_and_a_living_one_keeps_its_own(
    settings: Settings, ledger: Ledger, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[int] = []

    async def long(_settings: Settings, _engine: Any, renew_lock: Any) -> int:
        redis_client.pexpire("milo:webhook-sender", 900)
        renew_lock()
        kept.append(int(redis_client.pttl("milo:webhook-sender")))  # type: ignore[arg-type]
        return 1

    monkeypatch.setattr("milo.webhooks.delivery.deliver_due", long)
    assert maintenance.deliver_webhooks(settings, ledger) == 1
    assert settings.lease_s * 1000 > kept[0] > 900
    assert not redis_client.exists("milo:webhook-sender")


def test_old_jobs_go_with_their_results_uploads_and_webhooks(settings: Settings, ledger: Ledger, files: Files) -> None:
    blob = files.put_blob(io.BytesIO(b"sound"))
    payload = {"source": {"blob": blob.id, "name": "a"}, "model": "m"}
    batch = Batch(id=new_id("batch"), kind="stt", name="b", owner="ana", total=1, remaining=1, created_at=1.0)
    item = new(kind="stt", payload=payload, batch_id=batch.id, batch_index=0, callback_url="http://127.0.0.1:1/")
    ledger.create_batch(batch, [item])
    (old,) = ledger.batch_jobs(batch.id)
    claim = ledger.claim(old.id, "w")
    assert claim
    ledger.clock = lambda: time.time() - 31 * DAY_S
    ledger.finish(claim, result_file=files.write_result(old.id, 1, b"{}"))
    ledger.clock = time.time
    young = ledger.create(new(idempotency_key="k"))
    ended(ledger, young, 29)
    os.utime(f"{files.root}/blobs/{blob.id[:2]}/{blob.id}", (0, 0))
    assert maintenance.clean(settings, ledger, files) == 1
    assert [job.id for job in ledger.jobs()] == [young.id]
    assert not files.has_blob(blob.id)
    assert [count(ledger, table) for table in (batches, webhooks, webhook_attempts)] == [0, 0, 0]
    assert not list(files.fs.find(f"{files.root}/results"))


def test_an_upload_is_kept_while_a_job_names_it_or_it_is_young(
    settings: Settings, ledger: Ledger, files: Files
) -> None:
    used, orphan, young = (files.put_blob(io.BytesIO(text)) for text in (b"used", b"orphan", b"young"))
    ledger.create(new(kind="stt", payload={"source": {"blob": used.id, "name": "a"}, "model": "m"}))
    for blob in (used, orphan):
        os.utime(f"{files.root}/blobs/{blob.id[:2]}/{blob.id}", (0, 0))
    maintenance.clean(settings, ledger, files)
    assert (files.has_blob(used.id), files.has_blob(orphan.id), files.has_blob(young.id)) == (True, False, True)
    os.utime(f"{files.root}/blobs/{used.id[:2]}/{used.id}", (0, 0))
    files.put_blob(io.BytesIO(b"used"))
    assert files.blobs_before(time.time() - DAY_S) == []


def test_work_folders_of_jobs_that_ended_without_a_worker_go(settings: Settings, ledger: Ledger, files: Files) -> None:
    waiting, dead = ledger.create(new()), ledger.create(new())
    for job in (waiting, dead):
        files.work_folder(job.id)
    claim = ledger.claim(dead.id, "w")
    assert claim
    ledger.fail(claim, EngineError("x"))
    maintenance.clean(settings, ledger, files)
    assert files.work_in_progress() == [waiting.id]


def test_a_key_whose_job_was_cleaned_away_makes_a_new_job(settings: Settings, ledger: Ledger, files: Files) -> None:
    first = ledger.create(new(idempotency_key="k", fingerprint="f"))
    ended(ledger, first, 40)
    maintenance.clean(settings, ledger, files)
    assert count(ledger, jobs) == 0 and count(ledger, idempotency) == 0
    assert ledger.create(new(idempotency_key="k", fingerprint="g")).id != first.id


def test_nothing_is_removed_when_retention_is_off(settings: Settings, ledger: Ledger, files: Files) -> None:
    job = ledger.create(new())
    ended(ledger, job, 1000)
    assert maintenance.clean(settings.model_copy(update={"retention_days": 0}), ledger, files) == 0
    assert ledger.get(job.id)
