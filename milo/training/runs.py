"""Run directories: `runs/<utc>_<name>_<id>/`, what is in them and how they are read. Written by one training at a time.

config.yaml     the recipe, resolved            metrics.jsonl   a row a logged step: step, time, train/loss, …
dataset.json    hashes and sizes of the splits  summary.json    state, best and last
cmd.txt git.json env.txt                        alerts.jsonl    what was seen, what was done about it
preds/step-N.jsonl                              checkpoint-N/   stock checkpoints; best and last link to two
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from milo.models.files import write_durably
from milo.settings import Settings
from milo.storage import json_lines
from milo.storage.json_lines import Row

FOLDER = re.compile(r"^[^_]+_(.+?)_(?:job_)?[^_]+$")
CHECKPOINT = re.compile(r"^checkpoint-(\d+)$")
JOB = re.compile(r"_(job_[^_]+)$")
WAITS_FOR_ROOM = "waiting_for_room"
UNFINISHED = (None, "preprocessing", "training", "paused", WAITS_FOR_ROOM)
"""`state` of a summary whose training may go on. The others: done, failed, cancelled."""
SILENT_S = 60.0
"""A training that goes on writes its summary far more often than that."""


def root(settings: Settings) -> Path:
    return settings.home / "runs"


@dataclass(frozen=True)
class Run:
    """One training's folder."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def named(self) -> str:
        """The recipe's name, which may hold `_` itself; empty for a folder that is called otherwise."""
        match = FOLDER.match(self.id)
        return match[1] if match else ""

    @property
    def job_id(self) -> str | None:
        """The job whose training it is."""
        match = JOB.search(self.id)
        return match[1] if match else None

    # --- written ---

    def log(self, step: int, **metrics: float) -> None:
        """Append a row to metrics.jsonl; metric names are written `train/loss`."""
        _append(self.path / "metrics.jsonl", {"step": step, "time": round(time.time(), 3), **metrics})

    def alert(self, kind: str, seen: str, done: str, step: int | None = None, **more: Any) -> None:
        """Append to alerts.jsonl: what was seen and what was done about it."""
        _append(self.path / "alerts.jsonl", {"kind": kind, "seen": seen, "done": done, "step": step, **more})

    def summarise(self, **fields: Any) -> None:
        """Update summary.json, atomically."""
        write_durably(self.path / "summary.json", json.dumps({**self.summary(), **fields}, indent=1))

    def end_with(self, job_state: str, error: str | None = None) -> None:
        """Its job has ended so, maybe while nobody held the training: an unfinished one has ended with it."""
        before = self.summary()
        if (after := as_job_ended(before, job_state)) != before:
            self.summarise(**{**after, "error": error, "updated_at": time.time()})

    def forget_after(self, step: int) -> None:
        """Drop the metrics of steps after `step`: they will be made again."""
        path = self.path / "metrics.jsonl"
        if path.is_file():
            kept = [row for row in self.metrics() if row["step"] <= step]
            write_durably(path, "".join(json.dumps(row) + "\n" for row in kept))

    # --- read ---

    def metrics(self) -> list[Row]:
        """All rows; a last line that was cut off by a crash is left out, and so are lines that nobody here wrote."""
        return [row for row in json_lines.read(self.path / "metrics.jsonl") if isinstance(row.get("step"), int)]

    def alerts(self) -> list[Row]:
        """All rows of alerts.jsonl: `kind`, `seen`, `done`, and `step` where there is one."""
        return [row for row in json_lines.read(self.path / "alerts.jsonl") if {"kind", "seen", "done"} <= row.keys()]

    def summary(self) -> Row:
        """summary.json without fields that are not what they are read as; empty before it is written."""
        try:
            fields = json.loads((self.path / "summary.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return {name: value for name, value in fields.items() if _fits(name, value)} if isinstance(fields, dict) else {}

    def ended_worse(self) -> str:
        """Why its checkpoints can't be deployed: it ended worse than it began. Empty when it did not."""
        return str(self.summary().get("ended_worse") or "")

    def checkpoints(self) -> dict[int, Path]:
        """Complete checkpoints by step, first to last."""
        by_step = {}
        for item in self.path.iterdir() if self.path.is_dir() else ():
            match = CHECKPOINT.match(item.name)
            if match and item.is_dir():
                by_step[int(match[1])] = item
        return dict(sorted(by_step.items()))


def as_job_ended(summary: Row, job_state: str) -> Row:
    """A summary as it has to be read once its job is in this state: nothing unfinished outlives its job."""
    if job_state in ("cancelled", "failed") and summary.get("state") in UNFINISHED:
        return {**summary, "state": job_state, "eta_s": None}
    return summary


def silent_since(summary: Row, now: float) -> float | None:
    """When an unfinished training wrote last, in unix seconds, if that is longer ago than one that goes on needs."""
    at = summary.get("updated_at")
    unfinished = summary.get("state") in ("preprocessing", "training")
    return at if unfinished and isinstance(at, (int, float)) and now - at > SILENT_S else None


def _fits(name: str, value: Any) -> bool:
    """Whether a field of summary.json is what it is read as: one odd file must not hide all other runs."""
    if name in ("step", "total_steps", "last_loss", "eta_s", "updated_at", "speed_s_per_step"):
        return value is None or isinstance(value, (int, float))
    if name == "best" and isinstance(value, dict):
        score = value.get("value")
        return score is None or (isinstance(score, (int, float)) and isinstance(value.get("metric"), str))
    return name not in ("best", "last") or value is None or isinstance(value, dict)


def _append(path: Path, row: Mapping[str, Any]) -> None:
    json_lines.append(path, [{"at": datetime.now(timezone.utc).isoformat(timespec="seconds"), **row}])


def folder_for(settings: Settings, name: str, job_id: str, created_at: float) -> Run:
    """The folder of a job's training, the same however often the job starts; made when it is not there."""
    stamp = datetime.fromtimestamp(created_at, timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    path = root(settings) / f"{stamp}_{name}_{job_id}"
    path.mkdir(parents=True, exist_ok=True)
    return Run(path)


def all_runs(settings: Settings) -> list[Run]:
    """Every run, oldest first."""
    folder = root(settings)
    return [Run(item) for item in sorted(folder.iterdir()) if item.is_dir()] if folder.is_dir() else []


def find(settings: Settings, name: str, may_use: Callable[[Run], bool] = lambda run: True) -> Run | None:
    """A run by its folder's name, by its job's id, or by the recipe's name: the latest of those that may be used."""
    for run in reversed(all_runs(settings)):
        if (run.id == name or run.id.endswith(f"_{name}") or run.named == name) and may_use(run):
            return run
    return None
