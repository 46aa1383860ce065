"""The watchdog's rules in one table. `docs/operations.md` shows the same table; a test compares the two.

Those of the trainer are acted on inside the training loop, which alone has the weights in hand, and come out as alerts
of its run. The others are acted on by beat's tick (`milo.monitoring.watchdog`) and by the reconciler.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

HOT_C, TOO_HOT_C, COOL_C = 85, 90, 80
FLOOR_S = 120.0
FACTOR = 5.0
"""Steps that take this many times the median, and longer than the floor, are taken for a hang (NVIDIA's NVRx)."""
LIMIT = 3


@dataclass(frozen=True)
class Rule:
    """When to act, and how often at most."""

    name: str
    signal: str
    threshold: str
    action: str
    cooldown_s: float = 0
    """Not again within this time, for the same job (or card, or disk)."""
    limit: int | None = LIMIT
    """Times for one job; then it stops and says so. None: as often as need be."""
    by: Literal["watchdog", "trainer", "reconciler"] = "watchdog"


RULES: tuple[Rule, ...] = (
    Rule(
        "step_not_moving",
        "step of a training that runs",
        f"same step for max({FACTOR:.0f} x median step, {FLOOR_S:.0f} s); for the first step of a slice, and for steps "
        "that save or evaluate, MILO_HARD_LIMIT_S",
        "end the worker's child; the job is queued again and goes on from its last checkpoint",
        cooldown_s=120,
    ),
    Rule(
        "worker_gone",
        "lease of a running job",
        "not renewed for MILO_LEASE_S",
        "queue the job again; after its last attempt it fails as `worker_lost`",
        by="reconciler",
    ),
    Rule(
        "disk_low",
        "free room in MILO_HOME",
        "less than two checkpoints of the run, or 2 GiB",
        "remove checkpoints beyond those to keep (never best or last), and results past their retention",
        cooldown_s=300,
        limit=None,
    ),
    Rule(
        "disk_full",
        "free room in MILO_HOME",
        "still too little after removing",
        "pause training and evaluation until there is room",
        limit=None,
    ),
    Rule("gpu_hot", "temperature of a card", f">= {HOT_C} C", "alert", cooldown_s=900, limit=None),
    Rule(
        "gpu_overheated",
        "temperature of a card",
        f">= {TOO_HOT_C} C",
        f"pause training and evaluation until it is below {COOL_C} C",
        limit=None,
    ),
    Rule("nan", "loss", "not finite", "skip the batch, and name it", limit=None, by="trainer"),
    Rule(
        "nan_rollback",
        "loss",
        "not finite three times in a row",
        "back to the last good checkpoint, half the learning rate, the batches named",
        by="trainer",
    ),
    Rule(
        "spike_rollback",
        "loss",
        "> 5 x rolling median for 3 steps",
        "back to the last good checkpoint, half the learning rate, the batches named",
        by="trainer",
    ),
    Rule(
        "out_of_memory",
        "memory of the card",
        "an allocation fails",
        "half the batch, twice the accumulation",
        by="trainer",
    ),
    Rule("corrupt_checkpoint", "checkpoint to go on from", "can't be read", "take the one before", by="trainer"),
    Rule("no_room", "writing to the run", "its disk is full", "wait until more is free", limit=None, by="trainer"),
)
BY_NAME: dict[str, Rule] = {rule.name: rule for rule in RULES}
