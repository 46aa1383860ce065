"""The ledger's database locked, its disk full, its file replaced by yesterday's; the API killed before it publishes."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx

from tests.faults.disks import NO_DISK, fill, small_disk
from tests.faults.field import Field, stack, waiting
from tests.faults.table import Row
from tests.faults.work import Load, account
from tests.support.servers import ROOT, environment, wait_until

LOCKED_S = 10.0
DISK_MB = 160
DIES_BEFORE_PUBLISHING = """
import os, signal, sys
from milo.queue import wakeups
wakeups.submit = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
import uvicorn
uvicorn.run("api.app:app", host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
"""
"""The API, killed at the moment between the row's commit and the message."""


def locked(folder: Path, scale: float, rng: random.Random) -> list[Row]:
    """Another process holds the write lock for longer than anybody waits for it."""
    row = Row("ledger locked by another process")
    with stack(folder) as field:
        for number in range(max(1, round(5 * scale))):
            load = Load(field, max(6, round(20 * scale)), rng, f"locked {number}")
            load.start()
            wait_until(lambda load=load: len(load.done.jobs) >= 3, "nothing was acknowledged", 60)  # type: ignore[misc]
            with _write_lock(field):
                row.faults += 1
                until = time.monotonic() + LOCKED_S
                while time.monotonic() < until:
                    _expect_refusal(field, row)
            started = time.monotonic()
            field.probe(f"probe {load.name}")
            row.recovery_s.append(time.monotonic() - started)
            account(field, load.finish(), row, 180)
    return [row]


@contextmanager
def _write_lock(field: Field) -> Iterator[None]:
    connection = sqlite3.connect(field.settings.home / "ledger.sqlite3", timeout=60, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


def _expect_refusal(field: Field, row: Row) -> None:
    answer = field.client.post("/jobs", json={"kind": "ping"})
    refused = answer.status_code == 503 and "retry-after" in answer.headers
    row.expect(refused, f"POST /jobs answered {answer.status_code}: {answer.text[:120]}")


def disk_full(folder: Path, scale: float, rng: random.Random) -> list[Row]:
    """Everything at rest is on a small disk, and that fills up while jobs run."""
    row = Row("disk full")
    disk = folder / "disk"
    with small_disk(disk, DISK_MB) as there:
        if not there:
            row.skipped = NO_DISK
            return [row]
        with stack(disk, ("flower", "archive")) as field:
            for number in range(max(1, round(5 * scale))):
                _fill(field, disk, number, row, rng, scale)
    return [row]


def _fill(field: Field, disk: Path, number: int, row: Row, rng: random.Random, scale: float) -> None:
    load = Load(field, max(6, round(20 * scale)), rng, f"full {number}", kinds=("ping", "stt", "tts", "ping"))
    load.start()
    wait_until(lambda: len(load.done.jobs) >= 3, "nothing was acknowledged", 60)
    filler = fill(disk)
    row.faults += 1
    refused = 0
    for _ in range(10):
        answer = field.client.post("/blobs", content=rng.randbytes(1 << 20))
        row.expect(answer.status_code == 503, f"POST /blobs answered {answer.status_code}: {answer.text[:120]}")
        answer = field.client.post("/jobs", json={"kind": "ping"})
        row.expect(answer.status_code in (202, 503), f"POST /jobs answered {answer.status_code}: {answer.text[:120]}")
        refused += answer.status_code == 503
    left = [path.name for path in (field.settings.home / "incoming").glob("*")]
    row.expect(not left, f"half files are left: {left}")
    filler.unlink()
    started = time.monotonic()
    field.probe(f"probe {load.name}")
    row.recovery_s.append(time.monotonic() - started)
    account(field, load.finish(), row, 240)


def yesterday(folder: Path, scale: float, rng: random.Random) -> list[Row]:
    """The file is replaced by an older one under a running stack: what it holds counts, and nothing goes to a ghost."""
    row = Row("ledger copied back from yesterday")
    with stack(folder) as field:
        file = field.settings.home / "ledger.sqlite3"
        for number in range(max(1, round(5 * scale))):
            old = Load(field, 6, rng, f"old {number}")
            old.start()
            account(field, old.finish(), row, 120)
            backup = folder / f"backup-{number}.sqlite3"  # into one that is there it would go by way of a journal
            with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(backup)) as target:
                source.backup(target)
            lost = Load(field, 6, rng, f"lost {number}")  # made after the backup: gone with it, and that is said
            lost.start()
            lost.join()
            fresh = file.with_suffix(".restored")
            shutil.copy(backup, fresh)
            for suffix in ("-wal", "-shm"):
                file.with_name(file.name + suffix).unlink(missing_ok=True)
            os.replace(fresh, file)
            row.faults += 1
            started = time.monotonic()
            field.probe(f"probe yesterday {number}")
            row.recovery_s.append(time.monotonic() - started)
            after = Load(field, 6, rng, f"after {number}")
            after.start()
            account(field, after.finish(), row, 120)
            gone = {field.client.get(f"/jobs/{one}").status_code for one in lost.done.ids}
            row.expect(gone <= {404}, f"jobs of the replaced file answer {gone}")
            kept = {field.client.get(f"/jobs/{one}").json().get("state") for one in old.done.ids}
            row.expect(kept == {"succeeded"}, f"jobs of the restored file are {kept}")
    return [row]


def unpublished(folder: Path, scale: float, rng: random.Random) -> list[Row]:
    """The API is killed between commit and publish; the client asks again with the same Idempotency-Key."""
    row = Row("API killed between commit and publish")
    with stack(folder, ("flower", "status", "archive", "api"), cpu_concurrency=1) as field:
        for number in range(max(1, round(10 * scale))):
            key = f"unpublished {number}"
            _post_to_the_dying(field, key, row)
            with _api(field, ["-m", "uvicorn", "api.app:app", "--host", "127.0.0.1", "--log-level", "warning"]):
                started = time.monotonic()
                job_id = field.post("/jobs", {"kind": "ping"}, key)["id"]
                row.jobs += 1
                row.lost += len(field.wait_final([job_id], 60))
                row.recovery_s.append(time.monotonic() - started)
        with field.ledger() as ledger:
            row.duplicated = len(ledger.jobs(limit=500)) - row.jobs
    return [row]


def _post_to_the_dying(field: Field, key: str, row: Row) -> None:
    with _api(field, ["-c", DIES_BEFORE_PUBLISHING, str(field.settings.port)]) as process:
        try:
            field.client.post("/jobs", json={"kind": "ping"}, headers={"Idempotency-Key": key})
            row.complaints.append("the API answered before it published")
        except httpx.TransportError:
            row.faults += 1
        wait_until(lambda: process.poll() is not None, "the API did not die")
    with field.ledger() as ledger:
        left = waiting(lambda: [] if ledger.jobs(limit=1) else ["row"], 5)
        row.expect(not left, "the row was not on disk")


@contextmanager
def _api(field: Field, words: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """An API of our own on the stack's port."""
    command = [sys.executable, *words]
    if "-m" in words:
        command += ["--port", str(field.settings.port)]
    process = subprocess.Popen(command, cwd=ROOT, env=environment(field.settings), stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: _answers(field) or process.poll() is not None, "the API did not start", 60)
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _answers(field: Field) -> bool:
    try:
        return field.client.get("/health").status_code in (200, 503)
    except httpx.TransportError:
        return False
