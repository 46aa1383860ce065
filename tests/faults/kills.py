"""SIGKILL of every process at random moments, with jobs of all kinds in flight."""

from __future__ import annotations

import random
import time
from contextlib import suppress
from pathlib import Path

from milo.errors import MiloError
from milo.ledger import Ledger
from milo.monitoring import redis_state
from tests.faults.field import Field, stack
from tests.faults.table import Row
from tests.faults.work import KINDS, Load, account
from tests.support.servers import wait_until

KILLS = {"gpu child": 30, "gpu": 20, "cpu": 15, "api": 15, "beat": 10, "supervisor": 10}
"""How often each is killed."""
JOBS_A_KILL = 3
ATTEMPTS = 20
"""So many kills may hit one job; poison is another fault's matter."""
SPARE_S = 5.0
"""A job is back within its lease and this."""


def kills(folder: Path, scale: float, rng: random.Random) -> list[Row]:
    """One stack, one load; a row for each kind of process."""
    with stack(folder, max_attempts=ATTEMPTS) as field:
        return [kill_one(field, name, count, scale, rng) for name, count in KILLS.items()]


def kill_one(field: Field, service: str, count: int, scale: float, rng: random.Random) -> Row:
    """Kill one service again and again, each time with jobs of all kinds in flight."""
    row = Row(f"SIGKILL of {'the ' if service != 'redis' else ''}{service}")
    times = max(1, round(count * scale))
    loads = []
    for number in range(times):
        kinds = rng.sample(KINDS, len(KINDS))
        loads.append(Load(field, max(JOBS_A_KILL, 6 // times), rng, f"kill {service} {number} {rng.random()}", kinds))
        loads[-1].start()
        time.sleep(rng.uniform(0, 1.5))  # the random moment is the fault
        strike(field, service, row, f"probe {loads[-1].name}")
    for load in loads:
        account(field, load.finish(), row, 180)
    for took_s in row.recovery_s if service != "supervisor" else ():  # that is the start of a whole stack
        row.expect_in_time(took_s, field.settings.lease_s + SPARE_S, "recovered")
    return row


def strike(field: Field, service: str, row: Row, probe: str) -> None:
    """Kill the service, and wait until nothing is left with the dead and a job goes all the way."""
    with field.ledger() as ledger:
        before = _in_hand(ledger, service)
        field.kill(service)
        started = time.monotonic()
        row.faults += 1
        if service == "supervisor":
            field.bury()
            started = time.monotonic()  # nobody watches the supervisor: a person, or systemd, starts it again
            field.start()
        wait_until(lambda: not (_in_hand(ledger, service) & before), "jobs stay with a dead worker", 90)
    field.probe(probe, told=service == "cpu")
    if service == "beat":
        wait_until(lambda: _has_ticked(field, since=started), "beat does not tick again", 90)
    row.recovery_s.append(time.monotonic() - started)


def _has_ticked(field: Field, since: float) -> bool:
    age_s = redis_state.read(field.settings).beat_age_s()
    return age_s is not None and age_s < time.monotonic() - since


def _in_hand(ledger: Ledger, service: str) -> set[tuple[str, int]]:
    """(job, fence) of what runs on the workers of a service; on all of them if it is no worker."""
    node = {"gpu child": "gpu", "gpu": "gpu", "cpu": "cpu"}.get(service, "")
    with suppress(MiloError):
        running = ledger.jobs(state="running", limit=500)
        return {(job.id, job.fence) for job in running if (job.worker or "").startswith(node)}
    return set()
