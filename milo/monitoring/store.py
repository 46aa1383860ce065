"""`MILO_HOME/status/`: documents written atomically, and histories in JSON lines that never grow past a bound.

status.json  history.jsonl      the status document, and a row of it each tick
health.json  health.jsonl       what beat's health checks found last, and a row each change
fixes.jsonl                     what the watchdog saw and did
fix/<id>.json  fix-audit.jsonl  requests to /fix, and the commands that ran
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, cast

from milo.models.files import write_durably
from milo.monitoring.schema import Status
from milo.settings import Settings

HISTORY_BYTES = 4 * 1024**2
"""A history past this becomes `.1`; what was `.1` becomes `.2`; what was `.2` is gone."""
OLDER = 2


def folder(settings: Settings) -> Path:
    """The folder of all of it, made when it is not there."""
    path = settings.home / "status"
    path.mkdir(parents=True, exist_ok=True)
    return path


def write(settings: Settings, name: str, document: Mapping[str, Any]) -> None:
    """Replace `<name>.json`; a reader sees the old document or the new one."""
    write_durably(folder(settings) / f"{name}.json", json.dumps(document, ensure_ascii=False, indent=1))


def read(settings: Settings, name: str) -> dict[str, Any] | None:
    """The document `<name>.json`; None when it was never written, or can't be read."""
    try:
        document = json.loads((settings.home / "status" / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def read_status(settings: Settings) -> Status | None:
    """The last status document that beat wrote."""
    document = read(settings, "status")
    return None if document is None else cast("Status", document)


def append(settings: Settings, name: str, row: Mapping[str, Any], limit_bytes: int = HISTORY_BYTES) -> None:
    """Add a line to `<name>.jsonl`; the time goes first."""
    path = folder(settings) / f"{name}.jsonl"
    stamped = {"at": datetime.now(timezone.utc).isoformat(timespec="seconds"), **row}
    line = json.dumps(stamped, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
    if path.is_file() and path.stat().st_size + len(line) > limit_bytes:
        for number in range(OLDER, 0, -1):
            older = path if number == 1 else path.with_name(f"{path.name}.{number - 1}")
            if older.exists():
                os.replace(older, path.with_name(f"{path.name}.{number}"))
    with path.open("ab") as file:  # one write of one line: writers never mix
        file.write(line)


def rows(settings: Settings, name: str) -> list[dict[str, Any]]:
    """What `<name>.jsonl` and its elder hold, oldest first."""
    path = settings.home / "status" / f"{name}.jsonl"
    return tail(path.with_name(f"{path.name}.1"), HISTORY_BYTES) + tail(path, HISTORY_BYTES)


def tail(path: Path, last_bytes: int = 64 * 1024) -> list[dict[str, Any]]:
    """The last rows of a file of JSON lines; torn lines are left out."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - last_bytes))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    found = []
    for line in text.split("\n")[1 if size > last_bytes else 0 :]:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            found.append(row)
    return found
