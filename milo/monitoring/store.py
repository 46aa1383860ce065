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
from milo.storage import json_lines
from milo.storage.json_lines import Row

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


def read(settings: Settings, name: str) -> Row | None:
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
    if path.is_file() and path.stat().st_size + len(json_lines.line_of(stamped)) > limit_bytes:
        for number in range(OLDER, 0, -1):
            older = path if number == 1 else path.with_name(f"{path.name}.{number - 1}")
            if older.exists():
                os.replace(older, path.with_name(f"{path.name}.{number}"))
    json_lines.append(path, [stamped])


def rows(settings: Settings, name: str) -> list[Row]:
    """What `<name>.jsonl` and its elder hold, oldest first."""
    path = settings.home / "status" / f"{name}.jsonl"
    return json_lines.tail(path.with_name(f"{path.name}.1"), HISTORY_BYTES) + json_lines.tail(path, HISTORY_BYTES)
