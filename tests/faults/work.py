"""Jobs of mixed kinds, and the account of what became of them."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select

from milo.ledger import Ledger, outbox
from milo.ledger.database import reading
from milo.ledger.schema import batches as batch_rows
from milo.ledger.schema import jobs as job_rows
from tests.faults.field import Field, waiting
from tests.faults.table import Row
from tests.support.servers import ROOT

VOICES = [ROOT / "samples" / name for name in ("05-voice-note.opus", "09-video.mkv", "13-noisy.mp3")]
BATCH_ITEMS = 3
KINDS = ("ping", "ping", "stt", "tts", "translate", "chat", "batch")
"""What is submitted, in turn."""


@dataclass
class Acknowledged:
    """What the API answered 2xx to: idempotency key -> job ids."""

    jobs: dict[str, list[str]] = field(default_factory=dict)
    batches: list[str] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        return [one for ids in self.jobs.values() for one in ids]


class Load(threading.Thread):
    """Submits `count` jobs of all kinds, one after the other, while faults happen."""

    def __init__(self, stack: Field, count: int, rng: random.Random, name: str, kinds: Sequence[str] = ()) -> None:
        super().__init__(daemon=True)
        self.stack, self.count, self.rng, self.name = stack, count, rng, name
        self.kinds = kinds or KINDS
        self.blobs = [stack.put_blob(path) for path in VOICES]
        self.done = Acknowledged()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            made, turn = 0, 0
            while made < self.count:
                key = f"{self.name}-{turn}"
                made += self._submit(self.kinds[turn % len(self.kinds)], key, self.count - made)
                turn += 1
        except BaseException as error:
            self.error = error

    def _submit(self, kind: str, key: str, most: int) -> int:
        if kind == "batch":
            items = [{"blob": self.rng.choice(self.blobs), "name": f"{i}"} for i in range(min(BATCH_ITEMS, most))]
            batch = self.stack.post("/batches", {"items": items, "callback_url": self.stack.receiver.url}, key)
            self.done.batches.append(batch["id"])
            with self.stack.ledger() as ledger:
                self.done.jobs[key] = [job.id for job in ledger.batch_jobs(batch["id"])]
            return len(items)
        body: dict[str, Any] = {"kind": kind, "payload": self._payload(kind), "callback_url": self.stack.receiver.url}
        if kind == "ping":
            body["priority"] = self.rng.choice(("interactive", "batch"))
        self.done.jobs[key] = [self.stack.post("/jobs", body, key)["id"]]
        return 1

    def _payload(self, kind: str) -> dict[str, Any]:
        if kind == "stt":
            return {"source": {"blob": self.rng.choice(self.blobs), "name": "a"}}
        if kind == "tts":
            return {"text": "Salama tompoko. Tsara ny andro."}
        if kind == "translate":
            return {"text": "Salama tompoko.", "source": "mg", "target": "fr"}
        if kind == "chat":
            return {"message": "Salama", "max_tokens": 32}
        return {"seconds": round(self.rng.uniform(0, 0.3), 2)}

    def finish(self) -> Acknowledged:
        """All that was acknowledged, once everything has been submitted."""
        self.join()
        if self.error:
            raise self.error
        return self.done


def account(stack: Field, done: Acknowledged, row: Row, timeout_s: float) -> None:
    """Every acknowledged job succeeded exactly once, and each was told of once."""
    row.jobs += len(done.ids)
    with stack.ledger() as ledger:
        left = waiting(lambda: [one for one in done.ids if not ledger.get(one).final], timeout_s)
        row.expect(not left, f"{len(left)} jobs have not ended: {left[:3]}")
        for one in done.ids:
            job = ledger.get(one)
            if job.state != "succeeded":
                row.lost += 1
                row.complaints.append(f"{one} ({job.kind}) is {job.state}: {(job.error or {}).get('detail')}")
        row.duplicated += _made_twice(ledger, done)
        told = [one for key, ids in done.jobs.items() for one in ids if len(ids) == 1 and not ledger.get(one).batch_id]
        told += done.batches
        silent = waiting(lambda: [one for one in told if not stack.receiver.ids.get(one)], timeout_s)
        row.lost += len(silent)
        row.expect(not silent, f"{len(silent)} webhooks did not arrive: {silent[:3]}")
        for one in told:
            where = {"batch_id": one} if one in done.batches else {"job_id": one}
            entries = outbox.log_of(ledger.engine, **where)  # type: ignore[arg-type]
            row.duplicated += len(entries) - 1
            row.duplicated += max(0, len(stack.receiver.ids[one]) - 1)


def _made_twice(ledger: Ledger, done: Acknowledged) -> int:
    """Jobs and batches under our keys beyond those that were acknowledged."""
    with reading(ledger.engine) as connection:
        rows = [
            connection.execute(select(func.count()).where(table.c.idempotency_key.in_(list(done.jobs)))).scalar_one()
            for table in (job_rows, batch_rows)
        ]
    return int(sum(rows)) - len(done.jobs)
