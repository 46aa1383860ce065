"""Evaluations at rest: `evaluations/<key>/` with `rows.jsonl`, a row an utterance, and `report.json`, the sums.

`trainer.evaluation.evaluate` writes them; reports, comparisons and checks read them and never decode again. The key
is a hash of all that the rows depend on: model, data, decode settings and normaliser.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from milo.errors import NotFound
from milo.models.files import fsync_folder, write_durably
from milo.settings import Settings
from milo.storage import json_lines
from milo.storage.json_lines import Row

KEY = re.compile(r"^[0-9a-f]{32}$")
ROWS, REPORT = "rows.jsonl", "report.json"
INSUFFICIENT = "insufficient_data"
"""`status` of a report without one item that can be scored, and verdict of a comparison without enough of them."""


def root(settings: Settings) -> Path:
    return settings.home / "evaluations"


Report = Row
"""report.json: what `trainer.evaluation` writes, by task; only `status` and `model` are always there."""


@dataclass(frozen=True)
class Stored:
    """The folder of one evaluation, finished or not."""

    path: Path

    @property
    def key(self) -> str:
        return self.path.name

    def report(self) -> Report | None:
        """None: it has not ended."""
        try:
            report = json.loads((self.path / REPORT).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return report if isinstance(report, dict) else None

    def ended_at(self) -> float:
        """When its report was written, in unix seconds; 0 before that."""
        try:
            return (self.path / REPORT).stat().st_mtime
        except OSError:
            return 0.0

    def rows(self, name: str = ROWS) -> dict[str, Row]:
        """Rows by the id of their utterance. A line that a dying worker left torn is passed over."""
        return {str(row["id"]): row for row in json_lines.read(self.path / name) if "id" in row}

    def append(self, rows: list[Row], name: str = ROWS) -> None:
        """Add finished rows. After a torn line they begin on a line of their own."""
        json_lines.append(self.path / name, rows)

    def settle(self, rows: list[Row], report: Report) -> None:
        """Write all rows in their order, then the report: where a report is, its rows are whole."""
        write_durably(self.path / ROWS, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        write_durably(self.path / REPORT, json.dumps(report, indent=1, ensure_ascii=False))


def open_or_make(settings: Settings, key: str) -> Stored:
    """The folder of an evaluation, made when it is not there."""
    folder = root(settings) / key
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        fsync_folder(folder.parent)
    return Stored(folder)


def find(settings: Settings, key: str) -> Stored:
    """A finished evaluation. Raises `NotFound`."""
    stored = Stored(root(settings) / key)
    if not KEY.match(key) or stored.report() is None:
        raise unknown(key)
    return stored


def unknown(key: str) -> NotFound:
    return NotFound(f"there is no finished evaluation {key[:80]!r} here", code="unknown_evaluation")


def all_finished(settings: Settings) -> list[Stored]:
    """Every finished evaluation, the latest first."""
    folder = root(settings)
    stored = [Stored(item) for item in folder.iterdir() if KEY.match(item.name)] if folder.is_dir() else []
    finished = [one for one in stored if (one.path / REPORT).is_file()]
    return sorted(finished, key=Stored.ended_at, reverse=True)
