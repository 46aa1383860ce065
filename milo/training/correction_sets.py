"""Data sets of people's corrections, on this machine: a table and a clip for each segment.

MILO_HOME/corrections/<job>/train.jsonl     audio, text, speaker, language; what the machine had heard
MILO_HOME/corrections/<job>/clips/<transcript>-<segment>.wav
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from milo.settings import Settings

TABLE, CLIPS = "train.jsonl", "clips"


class CorrectionRow(BaseModel):
    """One line of the table."""

    model_config = ConfigDict(frozen=True)

    id: str
    audio: str
    """Relative to the table."""
    text: str
    speaker: str
    """As people named them, by recording: the same name in two recordings may be two people."""
    language: str
    transcript_id: str
    segment_id: int
    revision: int
    machine_text: str | None
    """What the machine had heard there; None for what it had not."""


def folder_of(settings: Settings, name: str) -> Path:
    return settings.home / "corrections" / name


class CorrectionSet:
    """One that is being written: it has its name only when it is complete."""

    def __init__(self, settings: Settings, name: str) -> None:
        self.path = folder_of(settings, name)
        self._aside = self.path.with_name(f".{name}.new")
        self._rows: list[CorrectionRow] = []

    def __enter__(self) -> CorrectionSet:
        shutil.rmtree(self._aside, ignore_errors=True)
        (self._aside / CLIPS).mkdir(parents=True, mode=0o700)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._aside, ignore_errors=True)

    def add(self, row: CorrectionRow, wav: bytes) -> None:
        (self._aside / row.audio).write_bytes(wav)
        self._rows.append(row)

    def complete(self, may_be_used: Iterable[str]) -> list[CorrectionRow]:
        """Give it its name. What was taken back meanwhile is left out. Returns its rows."""
        allowed = set(may_be_used)
        _write(self._aside, self._rows)
        for transcript_id in {row.transcript_id for row in self._rows} - allowed:
            _forget(self._aside, transcript_id)
        shutil.rmtree(self.path, ignore_errors=True)
        os.replace(self._aside, self.path)
        return [row for row in self._rows if row.transcript_id in allowed]


def forget(settings: Settings, transcript_id: str) -> int:
    """Remove a transcript from every set. Returns how many segments that were. Models trained on them stay."""
    folders = (settings.home / "corrections").glob("job_*")
    return sum(_forget(folder, transcript_id) for folder in folders)


def _forget(folder: Path, transcript_id: str) -> int:
    try:
        rows = [CorrectionRow.model_validate_json(line) for line in (folder / TABLE).read_text("utf-8").splitlines()]
    except FileNotFoundError:
        return 0
    gone = [row for row in rows if row.transcript_id == transcript_id]
    if gone:
        _write(folder, [row for row in rows if row.transcript_id != transcript_id])
    for row in gone:
        (folder / row.audio).unlink(missing_ok=True)
    return len(gone)


def _write(folder: Path, rows: Iterable[CorrectionRow]) -> None:
    def line(row: CorrectionRow) -> dict[str, Any]:
        return row.model_dump(mode="json")

    aside = folder / f"{TABLE}.new"
    aside.write_text("".join(f"{json.dumps(line(row), ensure_ascii=False)}\n" for row in rows), encoding="utf-8")
    os.replace(aside, folder / TABLE)
