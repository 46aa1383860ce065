"""The clock of the whole stack set forwards and back by an hour, by a small library under every process."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
import time
from pathlib import Path

from tests.faults.field import Field, stack
from tests.faults.kills import kill_one
from tests.faults.table import Row
from tests.faults.work import Load, account
from tests.support.servers import wait_until

HOUR_S = 3600
LONG_S = 8.0
SOURCE = Path(__file__).parent / "clock.c"


def clocks(folder: Path, scale: float, rng: random.Random) -> list[Row]:
    """A job that runs over the step keeps its lease; a worker killed after it loses its own."""
    row = Row("clock jumps by an hour, forwards and back")
    compiler = shutil.which("cc")
    if compiler is None:
        row.skipped = "moving the clock of a process takes a C compiler (apt install gcc)"
        return [row]
    library, shift = folder / "clock.so", folder / "shift"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
    shift.write_bytes(struct.pack("q", 0))
    env = {"LD_PRELOAD": str(library), "MILO_FAULT_CLOCK": str(shift)}
    with stack(folder, more_env=env) as field:
        for number in range(max(1, round(3 * scale))):
            for at in (HOUR_S, 0, -HOUR_S, 0):
                _step(
                    field,
                    row,
                    f"clock {number} {row.faults}",
                    at,
                    shift,
                    Load(field, 6, rng, f"load {number} {row.faults}", ("ping", "tts")),
                )
        after = kill_one(field, "gpu child", 3, scale, rng)
    row.jobs += after.jobs
    row.lost += after.lost
    row.duplicated += after.duplicated
    row.complaints += after.complaints
    return [row]


def _step(field: Field, row: Row, name: str, at: int, shift: Path, load: Load) -> None:
    """Set the clock to `at` seconds beside the true one while a long job runs and others come."""
    body = {"kind": "ping", "payload": {"seconds": LONG_S}, "callback_url": field.receiver.url}
    long = str(field.post("/jobs", body, name)["id"])
    with field.ledger() as ledger:
        wait_until(lambda: ledger.get(long).state == "running", "the long job did not start", 60)
        load.done.jobs[name] = [long]
        load.start()
        with shift.open("r+b") as file:
            file.write(struct.pack("q", at))
        row.faults += 1
        started = time.monotonic()
        account(field, load.finish(), row, 90)
        row.recovery_s.append(time.monotonic() - started)
        attempts = ledger.get(long).attempt
        row.expect(attempts == 1, f"a job that ran lost its lease ({attempts} attempts)")
