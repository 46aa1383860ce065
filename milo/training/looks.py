"""Alpha spending: the false alarms that all looks at a training may give together are shared out among its looks.

Twenty looks at 5 % each give a false alarm in most trainings. Each look may take an equal part of what the looks that
were planned have left; from then on half of what is left, so that there is always something. The parts add up to the
total at most, whatever the looks have to do with each other (Bonferroni).
"""

from __future__ import annotations

from dataclasses import dataclass

TOTAL = 0.05
PLANNED = 20


@dataclass(frozen=True)
class Looks:
    """How often somebody has looked, and what is left."""

    used: int = 0
    left: float = TOTAL
    planned: int = PLANNED

    @property
    def level(self) -> float:
        """Of the next look."""
        return self.left / max(self.planned - self.used, 2)

    def spend(self) -> Looks:
        """After the next look."""
        return Looks(self.used + 1, self.left - self.level, self.planned)
