"""The registry of systems. What one looks at and finds is `check(world) -> Found`; `publish` writes it down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from trainer.autonomy import calibration, comparison, deployment, regression, testing
from trainer.autonomy.world import Found, World


@dataclass(frozen=True)
class System:
    """`name` is that of its row in `milo.monitoring.systems.MONITORED`: its file, its fields, its period."""

    name: str
    check: Callable[[World], Found]


SYSTEMS: tuple[System, ...] = (
    System("regression", regression.check),
    System("comparison", comparison.check),
    System("calibration", calibration.check),
    System("testing", testing.check),
    System("deployment", deployment.check),
)
"""All that are built."""
