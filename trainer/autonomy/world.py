"""What the systems look at: the checkpoints of the newest training, and what is deployed, as evaluations judged them.

Nothing is decoded here. One evaluation of the suite's data for each checkpoint is a job of its own
(`workers.autonomy`); all systems read its rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from milo.recipes import Recipe
from milo.settings import Settings
from milo.storage.json_lines import Row
from milo.training.evaluations import Report
from milo.training.suites import PartName, Suite


@dataclass(frozen=True)
class Judged:
    """A model and its evaluation on the suite's data."""

    name: str
    """`checkpoint-200`, or the label of a registered model."""
    report: Report
    rows: Mapping[str, Row]
    """By id, of all parts of the suite."""

    @property
    def key(self) -> str:
        return str(self.report["key"])


@dataclass(frozen=True)
class World:
    """All that a system may look at."""

    settings: Settings
    recipe: Recipe
    run_id: str
    suite: Suite
    checkpoints: Sequence[Judged] = ()
    """By step, those that are evaluated."""
    deployed: Judged | None = None
    """What serves under the recipe's name; the base model where nothing does."""
    waiting: Sequence[str] = ()
    """Checkpoints whose evaluation has not ended."""
    broken: Mapping[str, str] = field(default_factory=dict)
    """Checkpoint -> why it can't be evaluated."""
    deploys: Sequence[Row] = ()
    """What deploys have come to, oldest first."""
    before: Row = field(default_factory=dict)
    """The document that this system wrote last."""
    marker: str = ""
    """A hash of all that a look depends on: while it is the same, nobody has to look again."""

    def rows(self, judged: Judged, part: PartName) -> dict[str, Row]:
        """The rows of a part that can be scored."""
        found = self.suite.rows_of(part, judged.report, judged.rows)
        return {name: row for name, row in found.items() if row.get("ref_words")}


@dataclass(frozen=True)
class Found:
    """What a look of a system came to: `ok`, `insufficient_data` or `failed`, why, and the fields of its own."""

    state: str
    reason: str
    fields: Row
    checkpoint: str | None = None


def insufficient(reason: str, fields: Row, checkpoint: str | None = None) -> Found:
    return Found("insufficient_data", reason, fields, checkpoint)
