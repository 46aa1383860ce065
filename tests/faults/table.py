"""What one fault did: a row, and the rows as one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass
class Row:
    """The account of one fault. `complaints` are sentences; a row without any holds."""

    fault: str
    jobs: int = 0
    faults: int = 0
    lost: int = 0
    """Acknowledged jobs that did not end as they should."""
    duplicated: int = 0
    """Jobs made twice for one key, and webhooks told under two ids."""
    recovery_s: list[float] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    """What took longer than promised: a figure of the machine too, so the short form does not judge it."""
    skipped: str = ""
    """Why the fault can't be made on this machine."""

    def expect(self, fulfilled: bool, complaint: str) -> None:
        """Note the complaint unless it is fulfilled."""
        if not fulfilled:
            self.complaints.append(complaint)

    def expect_in_time(self, took_s: float, promised_s: float, what: str) -> None:
        """Note how late it was."""
        if took_s > promised_s:
            self.late.append(f"{what} after {took_s:.1f} s; {promised_s:g} s is promised")

    @property
    def nothing_lost(self) -> bool:
        return not self.complaints and not self.lost and not self.duplicated

    @property
    def holds(self) -> bool:
        return self.nothing_lost and not self.late

    def document(self) -> dict[str, Any]:
        return {**asdict(self), "holds": self.holds}


def show(rows: Sequence[Row], console: Console) -> None:
    """The one table, and below it a sentence for everything that does not hold or was left out."""
    table = Table(title="Faults", title_justify="left")
    table.add_column("fault")
    for name in ("jobs", "faults", "lost", "duplicated", "recovery p50", "max"):
        table.add_column(name, justify="right")
    table.add_column("holds")
    for row in rows:
        times = [f"{median(row.recovery_s):.1f} s", f"{max(row.recovery_s):.1f} s"] if row.recovery_s else ["", ""]
        word = "skipped" if row.skipped else "yes" if row.holds else "NO"
        counts = [str(n) for n in (row.jobs, row.faults, row.lost, row.duplicated)]
        table.add_row(row.fault, *counts, *times, word)
    console.print(table)
    for row in rows:
        for sentence in [row.skipped] if row.skipped else row.complaints + row.late:
            console.print(f"{row.fault}: {sentence}", soft_wrap=True)
