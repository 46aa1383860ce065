"""What a power cut leaves, and how many syncs of the disk it takes. The disk of these tests is a copy that is made at
each sync: what was not synced is not in it."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from milo.errors import Unavailable
from milo.jobs import Job, NewJob
from milo.ledger import Ledger
from milo.ledger.log_sync import LogSync
from milo.settings import Settings
from tests.support.servers import wait_until

PING = NewJob(kind="ping", payload={"seconds": 0}, owner="ana", priority="batch")


class Disk:
    """Takes the place of the sync. `hold` makes it wait, `broken` fail."""

    def __init__(self, home: Path) -> None:
        self.home, self.copy = home, home.with_name("disk")
        self.syncs, self.hold, self.began, self.broken = 0, threading.Event(), threading.Event(), False
        self.hold.set()

    def sync(self, file: int) -> None:
        self.began.set()
        assert self.hold.wait(20)
        self.syncs += 1
        if self.broken:
            raise OSError(5, "Input/output error")
        shutil.rmtree(self.copy, ignore_errors=True)
        self.copy.mkdir()
        for suffix in ("", "-wal"):
            shutil.copy(f"{self.home}/ledger.sqlite3{suffix}", self.copy)

    def states(self) -> dict[str, str]:
        """The jobs that a power cut would leave."""
        with sqlite3.connect(self.copy / "ledger.sqlite3") as found:
            return dict(found.execute("SELECT id, state FROM jobs"))


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path / "home")


@pytest.fixture
def ledger(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    monkeypatch.setattr("milo.ledger.log_sync.sync_file", disk.sync)
    opened = Ledger.open(Settings(home=disk.home, _env_file=None))
    disk.began.clear()
    yield opened
    opened.engine.dispose()


def test_a_power_cut_leaves_every_job_that_was_accepted_and_what_was_settled(ledger: Ledger, disk: Disk) -> None:
    told: list[Job] = []
    job = ledger.create(PING, told.append)
    assert [one.id for one in told] == [job.id] and disk.states() == {job.id: "queued"}
    claim = ledger.claim(job.id, "gpu/0")
    assert claim and disk.states() == {job.id: "queued"}, "a lease is not worth a sync"
    ledger.finish(claim, {"pong": True})
    assert ledger.get(job.id).state == "succeeded" and disk.states() == {job.id: "queued"}, "it would run once more"
    ledger.synced()
    assert disk.states() == {job.id: "succeeded"}


def test_the_worker_may_begin_before_the_sync_and_the_client_hears_after_it(ledger: Ledger, disk: Disk) -> None:
    disk.hold.clear()
    begun = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        accepted = pool.submit(ledger.create, PING, lambda job: begun.set())
        assert begun.wait(20) and disk.began.wait(20) and not accepted.done()
        assert ledger.claim_next("gpu.batch", "", "gpu/0"), "others see the row, and no lock is held"
        disk.hold.set()
        assert accepted.result(20).id in disk.states()


def test_those_who_commit_during_a_sync_share_the_next_one(ledger: Ledger, disk: Disk) -> None:
    before = disk.syncs
    disk.hold.clear()
    committed = threading.Semaphore(0)
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(ledger.create, PING)
        assert disk.began.wait(20)
        others = [pool.submit(ledger.create, PING, lambda job: committed.release()) for _ in range(8)]
        assert all(committed.acquire(timeout=20) for _ in others)
        disk.hold.set()
        ids = {one.result(20).id for one in (first, *others)}
    assert set(disk.states()) == ids
    assert disk.syncs - before <= 3, "one for the first, one or two for the eight that gathered meanwhile"


def test_a_sync_that_fails_is_told_to_all_whom_it_would_have_covered(ledger: Ledger, disk: Disk) -> None:
    disk.broken = True
    with pytest.raises(Unavailable, match="Input/output error"):
        ledger.create(PING)
    disk.broken = False
    assert ledger.create(PING).id in disk.states()


def test_a_sync_that_a_signal_interrupts_is_no_sync_for_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ledger.sqlite3-wal").touch()
    log, syncs = LogSync(tmp_path / "ledger.sqlite3"), []

    def second_is_interrupted(file: int) -> None:
        syncs.append(file)
        if len(syncs) == 1:
            wait_until(lambda: log._asked == 3, "nobody else asked")
        else:
            raise KeyboardInterrupt

    monkeypatch.setattr("milo.ledger.log_sync.sync_file", second_is_interrupted)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(log.wait)
        wait_until(lambda: bool(syncs), "the first does not sync")
        others = [pool.submit(log.wait) for _ in range(2)]
        first.result(20)
        found = {type(one.exception(20)) for one in others}
    assert found == {KeyboardInterrupt, OSError} and len(syncs) == 2


def test_a_log_that_is_gone_was_moved_into_the_database(tmp_path: Path) -> None:
    LogSync(tmp_path / "ledger.sqlite3").wait()


CREATES = """
import sys, threading
from pathlib import Path
from milo.jobs import NewJob
from milo.ledger import Ledger
from milo.settings import Settings

ledger = Ledger.open(Settings(home=Path(sys.argv[1]), _env_file=None))
lock = threading.Lock()

def create():
    while True:
        job = ledger.create(NewJob(kind="ping", payload={"seconds": 0}, owner="ana", priority="batch"))
        with lock:
            sys.stdout.write(job.id + "\\n")
            sys.stdout.flush()

for _ in range(6):
    threading.Thread(target=create).start()
"""


def test_who_was_answered_before_the_kill_has_his_job(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", CREATES, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    answered = [process.stdout.readline().strip() for _ in range(40)]
    os.kill(process.pid, signal.SIGKILL)
    answered += [line.strip() for line in process.stdout if line.endswith("\n")]
    process.wait()
    ledger = Ledger.open(Settings(home=tmp_path, _env_file=None))
    try:
        written = {job.id for job in ledger.jobs(limit=10_000)}
    finally:
        ledger.engine.dispose()
    assert set(answered) <= written and len(answered) == len(set(answered))
