"""What a diagnosis looks at: status, health, the ends of the logs, jobs that failed. No secrets, no payloads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypedDict, cast

from milo.errors import MiloError
from milo.jobs import iso
from milo.ledger import Ledger
from milo.monitoring import document, health
from milo.monitoring.fix.redact import redact, secrets_of
from milo.monitoring.health import Health
from milo.monitoring.schema import Status
from milo.settings import Settings
from milo.storage.files import Files

LOG_LINES, LINE_CHARS = 40, 500
LOG_BYTES = 64 * 1024
FAILED = 10


class FailedJob(TypedDict):
    id: str
    kind: str
    stage: str
    attempt: int
    finished_at: str | None
    code: str | None
    detail: str | None


class DiagnosisContext(TypedDict):
    """All that the rules of `milo.monitoring.fix.diagnosis` know, and what the operator's command gets."""

    problem: str
    status: Status
    health: Health
    failed_jobs: list[FailedJob]
    logs: dict[str, list[str]]
    """Service -> the last lines of its log."""


def collect(settings: Settings, ledger: Ledger, files: Files, problem: str) -> DiagnosisContext:
    """Everything, JSON-safe. What can't be read is left out, and never an error."""
    context: DiagnosisContext = {
        "problem": problem,
        "status": document.build(settings, ledger),
        "health": health.check(settings, ledger, files),
        "failed_jobs": _failed(ledger),
        "logs": {path.stem: last_lines(path) for path in sorted((settings.home / "logs").glob("*.log"))},
    }
    return cast("DiagnosisContext", redact(context, secrets_of(settings)))


def _failed(ledger: Ledger) -> list[FailedJob]:
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
            "code": (job.error or {}).get("code"),
            "detail": (job.error or {}).get("detail"),
        }
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
