"""Takes descriptions of problems: a diagnosis always, the operator's command only if there is one.

Each request runs in a thread of its own, so that a command that hangs blocks nobody; commands one at a time on a
machine, by a file lock that a dead process lets go. What was asked and what came of it stays in `status/fix/`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shlex
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, TypedDict, cast

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field

from milo.errors import Conflict, NotFound, Unavailable
from milo.jobs import iso, new_id
from milo.ledger import Ledger
from milo.models.files import write_durably
from milo.monitoring import store
from milo.monitoring.fix import command
from milo.monitoring.fix.context import DiagnosisContext, collect
from milo.monitoring.fix.diagnosis import Report, diagnose
from milo.monitoring.fix.redact import redact, secrets_of
from milo.settings import Settings
from milo.storage.files import Files

log = logging.getLogger(__name__)

ID = re.compile(r"^fix_[0-9a-f]{24}$")
KEPT = 200
"""Requests that are remembered."""
CHECK_S = 60.0
"""A diagnosis alone is done long before this; one that is not belongs to a process that is gone."""


class _FixBegun(TypedDict):
    id: str
    problem: str
    mode: Literal["check", "fix"]
    state: str
    """`running`, `done`, `failed`, `timed_out`, `stopped` or `interrupted` (its process died)."""
    asked_by: str
    created_at: str | None
    created: float
    runs_command: bool
    url: str


class FixRecord(_FixBegun, total=False):
    """One request and what came of it, as `GET /fix/{id}` answers it."""

    report: Report
    context: DiagnosisContext
    command: CommandResult
    error: str
    finished_at: str | None


class CommandResult(TypedDict, total=False):
    """How the operator's command ended: the fields of `command.Outcome`, of which only two are there if none ran."""

    exit_code: int | None
    output: str
    output_bytes: int
    duration_s: float
    ended: str


class FixRequest(BaseModel):
    """What somebody asks of `POST /fix`."""

    model_config = ConfigDict(extra="forbid")

    problem: str = Field(min_length=1, max_length=8000)
    """In a person's words. It is data: no part of a command is made of it."""
    mode: Literal["check", "fix"] = "check"


class FixService:
    """Takes requests and keeps their records. Safe to share between threads, and between processes on one home."""

    def __init__(self, settings: Settings, ledger: Ledger, files: Files) -> None:
        self._settings, self._ledger, self._files = settings, ledger, files
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    @property
    def _folder(self) -> Path:
        folder = store.folder(self._settings) / "fix"
        folder.mkdir(exist_ok=True)
        return folder

    def start(self, request: FixRequest, who: str) -> FixRecord:
        """Begin. Returns the record, whose `state` is `running`. `Conflict` when another command runs."""
        words = self._words() if request.mode == "fix" else []
        fix_id = new_id("fix")
        lock = self._hold(fix_id) if words else None
        problem = str(redact(request.problem, secrets_of(self._settings)))
        record: FixRecord = {
            "id": fix_id,
            "problem": problem,
            "mode": request.mode,
            "state": "running",
            "asked_by": who,
            "created_at": iso(time.time()),
            "created": time.time(),
            "runs_command": bool(words),
            "url": f"/api/v1/fix/{fix_id}",
        }
        try:
            self._write(record)
            thread = threading.Thread(target=self._work, args=(record, words, lock), name=fix_id, daemon=True)
            thread.start()
        except BaseException:
            if lock:
                lock.release()
            raise
        self._threads = [one for one in self._threads if one.is_alive()] + [thread]
        return record.copy()

    def get(self, fix_id: str) -> FixRecord:
        """One record, with its report when it is done. `NotFound`."""
        record = self._read(self._folder / f"{fix_id}.json") if ID.match(fix_id) else None
        if record is None:
            raise NotFound(f"there is no request {fix_id[:80]!r}; /fix/history lists them", code="unknown_fix")
        return record

    def history(self, limit: int = 50) -> list[FixRecord]:
        """The last requests, newest first, without reports and context."""
        newest = sorted(self._folder.glob("fix_*.json"), reverse=True)[:limit]
        records = [record for path in newest if (record := self._read(path))]
        for record in records:
            record.pop("report", None)
            record.pop("context", None)
        return records

    def close(self) -> None:
        """End what runs, and wait for it."""
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * command.PATIENCE_S)

    # --- one at a time ------------------------------------------------------------------------------------------------

    def _words(self) -> list[str]:
        try:
            return shlex.split(self._settings.fix_command)
        except ValueError as error:
            raise Unavailable(f"MILO_FIX_COMMAND can't be read: {error}", code="bad_fix_command") from None

    def _lock(self) -> FileLock:
        return FileLock(self._folder / "running.lock", timeout=0.2, thread_local=False)

    def _hold(self, fix_id: str) -> FileLock:
        lock = self._lock()
        try:
            lock.acquire()
        except Timeout:
            raise Conflict(
                f"{self._running()}; one at a time: wait for it",
                code="fix_runs",
            ) from None
        note = {"id": fix_id, "since": iso(time.time())}
        write_durably(self._folder / "running.json", json.dumps(note))
        return lock

    def _running(self) -> str:
        """Which command runs, in words."""
        try:
            note = json.loads((self._folder / "running.json").read_text(encoding="utf-8"))
            return f"{note['id']} runs since {note['since']}"
        except (OSError, ValueError, KeyError, TypeError):
            return "another fix runs since a moment ago"

    def _is_held(self) -> bool:
        lock = self._lock()
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        lock.release()
        return False

    # --- the work -----------------------------------------------------------------------------------------------------

    def _work(self, record: FixRecord, words: list[str], lock: FileLock | None) -> None:
        try:
            context = collect(self._settings, self._ledger, self._files, record["problem"])
            record["report"], record["context"] = diagnose(context), context
            record["state"] = self._run(record, context, words) if words else "done"
            if record["mode"] == "fix" and not words:
                record["command"] = {"ended": "not_configured", "output": "set MILO_FIX_COMMAND to let one run"}
        except Exception as error:  # whatever it was, whoever asked gets to know
            log.exception("the request %s broke", record["id"])
            record["state"], record["error"] = "failed", f"{type(error).__name__}: {error}"
        finally:
            record["finished_at"] = iso(time.time())
            self._audit(record, "ended", state=record["state"])
            self._write(record)
            if lock:
                lock.release()
            self._forget_old()

    def _run(self, record: FixRecord, context: DiagnosisContext, words: list[str]) -> str:
        folder = self._folder / record["id"]
        folder.mkdir()
        stdin = json.dumps({"mode": "fix", "report": record["report"], **context}, ensure_ascii=False).encode()
        self._audit(record, "began", command=words, context_sha256=hashlib.sha256(stdin).hexdigest())
        outcome = command.run(words, stdin, folder, self._settings.fix_timeout_s, self._stop)
        secrets = secrets_of(self._settings)
        result = cast("CommandResult", asdict(outcome))
        self._audit(record, "command ended", **{name: value for name, value in result.items() if name != "output"})
        record["command"] = {**result, "output": redact(outcome.output, secrets)}
        if outcome.ended == "exited":
            return "done" if outcome.exit_code == 0 else "failed"
        return "failed" if outcome.ended == "not_started" else outcome.ended

    # --- records ------------------------------------------------------------------------------------------------------

    def _write(self, record: FixRecord) -> None:
        write_durably(self._folder / f"{record['id']}.json", json.dumps(record, ensure_ascii=False, indent=1))

    def _read(self, path: Path) -> FixRecord | None:
        record = self._read_raw(path)
        if record and record["state"] == "running":
            held = self._is_held() if record["runs_command"] else time.time() - record["created"] < CHECK_S
            if not held:  # it may have ended since it was read
                record = self._read_raw(path) or record
                record["state"] = "interrupted" if record["state"] == "running" else record["state"]
        return record

    def _read_raw(self, path: Path) -> FixRecord | None:
        try:
            record: FixRecord = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return record

    def _audit(self, record: FixRecord, what: str, **more: Any) -> None:
        row = {"what": what, "id": record["id"], "asked_by": record["asked_by"], "mode": record["mode"]}
        store.append(self._settings, "fix-audit", {**row, "problem": record["problem"][:500], **more})

    def _forget_old(self) -> None:
        for path in sorted(self._folder.glob("fix_*.json"), reverse=True)[KEPT:]:
            path.unlink(missing_ok=True)
