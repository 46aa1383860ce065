"""Redis killed, hung and gone; messages lost, tripled, reordered and senseless."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import median

import httpx

from milo.jobs import QUEUES
from milo.stack.ports import free_port
from milo.stack.redis_server import find_redis_server
from milo.stack.services import listens
from milo.stack.services import wait_until as became
from tests.faults.field import Field, stack
from tests.faults.kills import kill_one
from tests.faults.table import Row
from tests.faults.work import Load, account
from tests.support.servers import wait_until

HUNG_S, GONE_S = 30.0, 60.0
FOUND_S = 15.0
REFUSED_S = 1.0
JUNK = (
    b"\xff\xfe\x00raw",
    b"not json",
    b"{}",
    b"[]",
    b"null",
    b'"text"',
    b'{"body": 5, "headers": [], "properties": {}}',
)
"""What is no Celery message, each in its own way."""
ASKED: tuple[tuple[str, str, dict[str, object] | None], ...] = (
    ("POST", "/jobs", {"kind": "ping"}),
    ("POST", "/stt", {"audio": "UklGRg=="}),
    ("POST", "/tts", {"text": "Salama"}),
    ("POST", "/chat", {"message": "Salama"}),
    ("POST", "/batches", {"items": []}),
    ("GET", "/sessions", None),
    ("GET", "/health", None),
)


def redis_faults(folder: Path, scale: float, rng: random.Random) -> list[Row]:
    """Killed ten times; hung. What was acknowledged is still there, and the API says so in time."""
    with stack(folder) as field:
        killed = kill_one(field, "redis", 10, scale, rng)
        return [killed, hang(field, scale, rng)]


def hang(field: Field, scale: float, rng: random.Random) -> Row:
    row = Row("Redis hangs (SIGSTOP)")
    load = _loaded(field, scale, rng, "hang")
    with field.frozen("redis"):
        row.faults += 1
        _refuses(field, row, max(5.0, HUNG_S * scale))
    _recovers(field, load, row)
    return row


class OwnRedis:
    """A Redis that no supervisor starts again, with the settings of ours."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._command = [find_redis_server(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self._command += ["--dir", str(folder), "--appendonly", "yes", "--maxmemory-policy", "noeviction"]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        wait_until(lambda: listens("127.0.0.1", self.port), "no Redis")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def redis_gone(folder: Path, scale: float, rng: random.Random) -> list[Row]:
    """Redis is not there at all for a minute."""
    row = Row("Redis is gone")
    server = OwnRedis(folder)
    try:
        with stack(folder, redis_url=f"redis://127.0.0.1:{server.port}/0") as field:
            load = _loaded(field, scale, rng, "gone")
            server.kill()
            row.faults += 1
            _refuses(field, row, max(5.0, GONE_S * scale))
            server.start()
            _recovers(field, load, row)
    finally:
        server.kill()
    return [row]


def _loaded(field: Field, scale: float, rng: random.Random, name: str) -> Load:
    """Jobs that go on being submitted, the first of them acknowledged."""
    load = Load(field, max(8, round(40 * scale)), rng, f"{name} {rng.random()}")
    load.start()
    wait_until(lambda: len(load.done.jobs) >= 3 or load.error is not None, "nothing was acknowledged")
    return load


def _recovers(field: Field, load: Load, row: Row) -> None:
    started = time.monotonic()
    field.probe(f"probe {load.name}")
    row.recovery_s.append(time.monotonic() - started)
    account(field, load.finish(), row, 180)


def _refuses(field: Field, row: Row, for_s: float) -> None:
    """Every request that needs Redis is a 503 with Retry-After; looking at a job still works."""
    until = time.monotonic() + for_s
    with field.ledger() as ledger:
        one = ledger.jobs(limit=1)[0].id
    took: list[float] = []
    while not took or time.monotonic() < until:
        for method, path, body in ASKED:
            started = time.monotonic()
            try:
                answer = field.client.request(method, path, json=body)
            except httpx.TransportError as error:
                row.complaints.append(f"{method} {path} was not answered: {error!r}")
                continue
            took.append(time.monotonic() - started)
            refused = answer.status_code == 503 and "retry-after" in answer.headers
            empty = path == "/batches" and answer.status_code == 422
            row.expect(refused or empty, f"{method} {path} answered {answer.status_code}: {answer.text[:120]}")
        looked = field.client.get(f"/jobs/{one}").status_code
        row.expect(looked == 200, f"GET /jobs/ID answered {looked}")
    row.expect_in_time(median(took), REFUSED_S, "refused")


# --- messages ---------------------------------------------------------------------------------------------------------


def message_faults(folder: Path, scale: float, rng: random.Random) -> list[Row]:
    """What a broker can do to its messages; the rows know better."""
    with stack(folder) as field:
        return [
            tampered(field, scale, rng, "messages flushed", flush),
            tampered(field, scale, rng, "messages tripled", _triple),
            tampered(field, scale, rng, "messages reordered", _shuffle),
            tampered(field, scale, rng, "raw bytes in a queue", push_junk),
            _loss_window(field, scale, rng),
        ]


def flush(field: Field, rng: random.Random) -> None:
    field.redis().delete(*QUEUES)


def _triple(field: Field, rng: random.Random) -> None:
    for queue in QUEUES:
        for message in field.redis().lrange(queue, 0, -1):  # type: ignore[union-attr]
            field.redis().lpush(queue, message, message)


def _shuffle(field: Field, rng: random.Random) -> None:
    client = field.redis()
    for queue in QUEUES:
        messages = [client.rpop(queue) for _ in range(int(client.llen(queue)))]  # type: ignore[arg-type]
        rng.shuffle(messages)
        if messages:
            client.lpush(queue, *messages)  # type: ignore[arg-type]


def push_junk(field: Field, rng: random.Random) -> None:
    for queue in QUEUES:
        field.redis().rpush(queue, *rng.sample(JUNK, len(JUNK)))  # the next to be taken


def tampered(
    field: Field, scale: float, rng: random.Random, name: str, tamper: Callable[[Field, random.Random], None]
) -> Row:
    """Do it to a queue full of messages: all workers hang meanwhile."""
    row = Row(name)
    workers = {service: field.pid(service) for service in ("gpu", "cpu", "archive")}
    for number in range(max(1, round(10 * scale))):
        load = Load(field, max(6, round(20 * scale)), rng, f"{name} {number} {rng.random()}")
        with field.frozen("gpu"), field.frozen("cpu"), field.frozen("archive"):
            load.start()
            load.join()
            tamper(field, rng)
            row.faults += 1
        started = time.monotonic()
        field.probe(f"probe {load.name}")
        _taken_up(field, load, row, started)
        account(field, load.finish(), row, 120)
    same = {service: field.pid(service) for service in workers} == workers
    row.expect(same, "a worker had to be started again")
    return row


def _taken_up(field: Field, load: Load, row: Row, started: float) -> None:
    """Until every job has been started at least once since."""
    with field.ledger() as ledger:
        ids = load.done.ids
        became(lambda: all(ledger.get(one).started_at for one in ids), 90)
    row.recovery_s.append(time.monotonic() - started)
    # what stood before it in the queue is not the broker's fault
    row.expect_in_time(row.recovery_s[-1], FOUND_S + 5 * len(ids), "found again")


def _loss_window(field: Field, scale: float, rng: random.Random) -> Row:
    """BRPOP hands a message to a worker that hangs; the worker is killed before it has noted it down."""
    row = Row("worker killed with a message in its hands")
    for number in range(max(1, round(10 * scale))):
        name = f"window {number} {rng.random()}"
        load = Load(field, 1, rng, name, kinds=("ping",))
        pid = field.signal("gpu", signal.SIGSTOP)
        load.start()
        load.join()
        done = load.finish()
        wait_until(lambda: not any(field.redis().llen(q) for q in QUEUES if q.startswith("gpu")), "the message stays")
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        row.faults += 1
        started = time.monotonic()
        account(field, done, row, 60)
        row.recovery_s.append(time.monotonic() - started)
    return row
