"""Attempts that go wrong: a worker that sleeps past its lease, jobs that kill, hang or exhaust their worker."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil

from milo.jobs import GPU_QUEUES, Job, NewJob
from milo.ledger import Ledger
from milo.queue import wakeups
from milo.queue.celery import app
from tests.faults import bad_work
from tests.faults.field import Field, stack, waiting
from tests.faults.table import Row
from tests.support.servers import celery_worker, wait_until

GPU = ",".join(GPU_QUEUES)
HARD_LIMIT_S = 4
LEASE_S = 6.0
EXPECTED = {
    bad_work.DIES: ("a job that kills its worker", "worker_lost", "died or hung 3 times"),
    bad_work.HANGS: ("an engine that hangs", "worker_lost", "died or hung 3 times"),
    bad_work.RAISES: ("an engine that raises", "engine_error", "the engine of the test has failed"),
    bad_work.NO_MEMORY: ("an engine that runs out of memory", "out_of_memory", "too little memory"),
}
"""Harm: name of the row, code and a part of the sentence of the dead letter."""


def new(field: Field, ledger: Ledger, seconds: float) -> Job:
    """A queued job with its wake-up, published past the API."""
    payload = {"seconds": seconds}
    job = ledger.create(NewJob(kind="ping", payload=payload, owner="operator", priority="batch"))
    with app.connection_for_write(field.settings.redis_url) as connection:
        app.send_task(wakeups.task_name("ping"), args=[job.id], queue=job.queue, connection=connection)
    return job


def zombies(folder: Path, scale: float, rng: random.Random) -> list[Row]:
    """A worker child is stopped past its lease; another takes the job; then the first goes on."""
    row = Row("worker stopped past its lease, then goes on")
    with (
        stack(folder, ("flower", "api", "archive"), lease_s=LEASE_S, share_card=True) as field,
        field.ledger() as ledger,
    ):
        with celery_worker(field.settings, GPU, log=folder / "worker.log"):
            for _ in range(max(1, round(5 * scale))):
                _zombie(field, ledger, row)
    return [row]


def _zombie(field: Field, ledger: Ledger, row: Row) -> None:
    job = new(field, ledger, 5.0)
    row.jobs += 1
    wait_until(lambda: ledger.get(job.id).state == "running", "nobody took the job", 60)
    held = ledger.get(job.id)
    child = _child_that_runs(field, str(held.worker))
    os.kill(child, signal.SIGSTOP)
    row.faults += 1
    started = time.monotonic()
    try:
        other = lambda: ledger.get(job.id).state == "running" and ledger.get(job.id).worker != held.worker  # noqa: E731
        wait_until(other, "nobody took the job over", 90)
        row.recovery_s.append(time.monotonic() - started)
    finally:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGCONT)
    heir = ledger.get(job.id)
    left = waiting(lambda: [] if ledger.get(job.id).final else [job.id], 60)
    after = ledger.get(job.id)
    row.lost += len(left) + (after.state != "succeeded")
    row.expect(after.attempt == 2, f"it took {after.attempt} attempts")
    row.expect(after.fence == heir.fence, "the zombie's claim counted")


def _child_that_runs(field: Field, worker: str) -> int:
    """The process of `<node>/<slot>`."""
    for process in field.everything():
        with suppress(psutil.Error):
            node = process.environ().get("MILO_WORKER_NODE")
            if node == worker.split("/")[0] and "spawn_main" in " ".join(process.cmdline()):
                return process.pid
    raise AssertionError(f"there is no process of {worker}")


def engines(folder: Path, scale: float, rng: random.Random) -> list[Row]:
    """Jobs that harm their worker end as dead letters with a reason, and their neighbours succeed."""
    with (
        stack(folder, ("flower", "api", "archive", "gpu"), lease_s=LEASE_S, hard_limit_s=HARD_LIMIT_S) as field,
        field.ledger() as ledger,
    ):
        with celery_worker(
            field.settings, GPU, "--include", "tests.faults.bad_work", log=folder / "worker.log"
        ) as worker:
            rows = [_harmed(field, ledger, harm, scale, rng) for harm in EXPECTED]
            rows[-1].expect(worker.poll() is None, "the worker ended")
    return rows


def _harmed(field: Field, ledger: Ledger, harm: float, scale: float, rng: random.Random) -> Row:
    name, code, sentence = EXPECTED[harm]
    row = Row(name)
    bad = max(1, round(5 * scale))
    lengths = [harm] * bad + [0.05] * (4 * bad)
    rng.shuffle(lengths)
    made = [new(field, ledger, seconds) for seconds in lengths]
    row.jobs, row.faults = len(made), bad
    started = time.monotonic()
    left = waiting(lambda: [job.id for job in made if not ledger.get(job.id).final], 120 * bad)
    row.expect(not left, f"{len(left)} have not ended")
    row.recovery_s.append(time.monotonic() - started)
    for job in made:
        after = ledger.get(job.id)
        if job.payload["seconds"] != harm:
            row.lost += after.state != "succeeded"
            continue
        error = after.error or {}
        row.expect(after.state == "failed" and after.attempt == after.max_attempts, f"{job.id} is {after.state}")
        fits = error.get("code") == code and sentence in str(error.get("detail"))
        row.expect(fits, f"its reason is {error.get('code')}: {error.get('detail')}")
    return row
