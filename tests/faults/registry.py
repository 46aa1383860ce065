"""Every fault by name, in the order in which they are made."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from tests.faults.attempts import engines, zombies
from tests.faults.broken_models import broken_models
from tests.faults.brokers import message_faults, redis_faults, redis_gone
from tests.faults.clocks import clocks
from tests.faults.doubles import doubles, stopped
from tests.faults.kills import kills
from tests.faults.ledgers import disk_full, locked, unpublished, yesterday
from tests.faults.rebinding import rebinding
from tests.faults.receivers import receivers
from tests.faults.table import Row
from tests.faults.trainings import trainings
from tests.faults.upgrades import upgrades

Fault = Callable[[Path, float, random.Random], list[Row]]

FAULTS: dict[str, Fault] = {
    "kills": kills,
    "redis": redis_faults,
    "redis gone": redis_gone,
    "messages": message_faults,
    "zombies": zombies,
    "engines": engines,
    "broken models": broken_models,
    "unpublished": unpublished,
    "locked": locked,
    "disk full": disk_full,
    "yesterday": yesterday,
    "receivers": receivers,
    "rebinding": rebinding,
    "clocks": clocks,
    "doubles": doubles,
    "stopped": stopped,
    "trainings": trainings,
    "upgrades": upgrades,
}
