"""What a diagnosis looks at: status, health, the ends of the logs, jobs that failed. No secrets, no payloads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from milo.errors import MiloError
from milo.jobs import iso
from milo.ledger import Ledger
from milo.monitoring import document, health
from milo.monitoring.fix.redact import redact, secrets_of
from milo.settings import Settings
from milo.storage.files import Files

LOG_LINES, LINE_CHARS = 40, 500
LOG_BYTES = 64 * 1024
FAILED = 10


def collect(settings: Settings, ledger: Ledger, files: Files, problem: str) -> dict[str, Any]:
    """Everything, JSON-safe. What can't be read is left out, and never an error."""
    context = {
        "problem": problem,
        "status": document.build(settings, ledger),
        "health": health.check(settings, ledger, files),
        "failed_jobs": _failed(ledger),
        "logs": {path.stem: last_lines(path) for path in sorted((settings.home / "logs").glob("*.log"))},
    }
    found: dict[str, Any] = redact(context, secrets_of(settings))
    return found


def _failed(ledger: Ledger) -> list[dict[str, Any]]:
    try:
        jobs = ledger.jobs(state="failed", limit=FAILED)
    except MiloError:
        return []
    return [
        {
            "id": job.id,
            "kind": job.kind,
            "stage": job.stage,
            "attempt": job.attempt,
            "finished_at": iso(job.finished_at),
        }
        | {name: (job.error or {}).get(name) for name in ("code", "detail")}
        for job in jobs
    ]


def last_lines(path: Path) -> list[str]:
    """The end of a log."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LOG_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [line[:LINE_CHARS] for line in text.splitlines()[-LOG_LINES:]]
