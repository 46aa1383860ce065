"""Jobs and batches as clients see them: the JSON, and its description for the documentation."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from api.http.deps import PREFIX, Context
from milo.jobs import Batch, Job, Progress, iso
from milo.ledger import outbox
from milo.monitoring.liveness import is_silent

SPEED_CACHE_S = 5.0


class JobDocument(BaseModel):
    """One job."""

    id: str
    kind: str
    state: str
    priority: str
    owner: str
    batch_id: str | None
    batch_index: int | None
    payload: dict[str, Any]
    progress: Progress
    result: dict[str, Any] | None
    result_url: str | None
    error: dict[str, Any] | None
    attempt: int
    max_attempts: int
    slices: int
    created_at: str
    started_at: str | None
    finished_at: str | None
    audio_s: float | None
    compute_s: float
    models: dict[str, str]
    callback_url: str | None
    idempotency_key: str | None
    queue_position: int | None
    """1: the next one. Only of a job that is asked for by itself and has not ended; 0 when it runs."""
    eta_s: float | None
    version: int
    revision: int
    """How often people have edited its transcript. From 1 on `result` is null here: `result_url` has the newest."""
    url: str


class JobList(BaseModel):
    items: list[JobDocument]
    next: str | int | None


class BatchDocument(BaseModel):
    """Many jobs that were submitted together."""

    id: str
    kind: str
    name: str
    state: str
    owner: str
    total: int
    counts: dict[str, int]
    progress: Progress
    audio_s: float
    done_audio_s: float
    created_at: str
    finished_at: str | None
    eta_s: float | None
    callback_url: str | None
    options: dict[str, Any]
    url: str
    results_url: str
    version: int
    skipped: list[dict[str, str]] | None = None
    """Only in the answer that made the batch: files under a folder that were left out, and why."""


class BatchList(BaseModel):
    items: list[BatchDocument]
    next: str | None


def job_url(job_id: str) -> str:
    return f"{PREFIX}/jobs/{job_id}"


def job_document(job: Job, queue_position: int | None = None, eta_s: float | None = None) -> dict[str, Any]:
    """`queue_position` and `eta_s` cost queries: `job_with_queue` knows them."""
    link = job_url(job.id)
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state,
        "priority": job.priority,
        "owner": job.owner,
        "batch_id": job.batch_id,
        "batch_index": job.batch_index,
        "payload": job.payload,
        "progress": {"done": job.progress.done, "total": job.progress.total, "unit": job.progress.unit},
        "result": None if job.revision else job.result,
        "result_url": f"{link}/result" if job.state == "succeeded" else None,
        "error": job.error,
        "attempt": job.attempt,
        "max_attempts": job.max_attempts,
        "slices": job.slices,
        "created_at": iso(job.created_at),
        "started_at": iso(job.started_at),
        "finished_at": iso(job.finished_at),
        "audio_s": job.audio_s,
        "compute_s": round(job.compute_s, 3),
        "models": job.models,
        "callback_url": job.callback_url,
        "idempotency_key": job.idempotency_key,
        "queue_position": queue_position,
        "eta_s": None if eta_s is None else round(eta_s, 1),
        "version": job.version,
        "revision": job.revision,
        "url": link,
    }


def job_with_queue(context: Context, job: Job) -> dict[str, Any]:
    """The job with its place in the queue and when it may be done, from measured speed. Asks the ledger."""
    if job.final:
        return job_document(job)
    each_s = seconds_per_job(context, job.kind)
    if is_silent(context.settings, job, time.time()):
        return job_document(job, 0)
    if job.state == "running":
        elapsed_s = time.time() - (job.started_at or job.created_at)
        done, total = job.progress.done, job.progress.total
        if total and 0 < done <= total:
            return job_document(job, 0, elapsed_s * (total - done) / done)
        return job_document(job, 0, None if each_s is None else max(0.0, each_s - elapsed_s))
    ahead = context.ledger.ahead(job)
    return job_document(job, ahead + 1, None if each_s is None else (ahead + 1) * each_s)


def seconds_per_job(context: Context, kind: str) -> float | None:
    """The ledger's measure, asked for at most every `SPEED_CACHE_S`."""
    at, value = context.notes.get(f"speed:{kind}", (0.0, None))
    if not 0 <= time.monotonic() - at < SPEED_CACHE_S or at == 0.0:
        value = context.ledger.seconds_per_job(kind)
        context.notes[f"speed:{kind}"] = (time.monotonic(), value)
    seconds: float | None = value
    return seconds


def batch_eta_s(context: Context, batch: Batch) -> float | None:
    """From the pace of the batch itself; before its first job has ended, from that of its kind."""
    if batch.remaining <= 0:
        return None
    done = batch.total - batch.remaining
    if done:
        return (time.time() - batch.created_at) / done * batch.remaining
    each_s = seconds_per_job(context, batch.kind)
    return None if each_s is None else each_s * batch.remaining


def batch_document(batch: Batch, eta_s: float | None = None) -> dict[str, Any]:
    link = f"{PREFIX}/batches/{batch.id}"
    return {
        "id": batch.id,
        "kind": batch.kind,
        "name": batch.name,
        "state": batch.state,
        "owner": batch.owner,
        "total": batch.total,
        "counts": {state: batch.counts.get(state, 0) for state in JOB_STATES},
        "progress": {"done": batch.total - batch.remaining, "total": batch.total, "unit": "jobs"},
        "audio_s": round(batch.audio_s, 3),
        "done_audio_s": round(batch.done_audio_s, 3),
        "created_at": iso(batch.created_at),
        "finished_at": iso(batch.finished_at),
        "eta_s": None if eta_s is None else round(eta_s, 1),
        "callback_url": batch.callback_url,
        "options": batch.options,
        "url": link,
        "results_url": f"{link}/results",
        "version": batch.version,
    }


JOB_STATES = ("queued", "running", "succeeded", "failed", "cancelled")


def batch_with_eta(context: Context, batch: Batch) -> dict[str, Any]:
    return batch_document(batch, batch_eta_s(context, batch))


def webhook_documents(context: Context, **which: str) -> list[dict[str, Any]]:
    """The delivery log of a job or batch (`job_id=` or `batch_id=`), without the bodies."""
    return [webhook_document(row, row["tries"]) for row in outbox.log_of(context.ledger.engine, **which)]


def webhook_document(row: outbox.WebhookRow, tries: Sequence[outbox.DeliveryTry] = ()) -> dict[str, Any]:
    return {
        "id": row["id"],
        "job_id": row["job_id"],
        "batch_id": row["batch_id"],
        "url": row["url"],
        "state": row["state"],
        "attempts": row["attempts"],
        "created_at": iso(row["created_at"]),
        "due_at": iso(row["due_at"]) if row["state"] == "pending" else None,
        "finished_at": iso(row["finished_at"]),
        "tries": [
            {
                "at": iso(one["at"]),
                "duration_ms": round(one["duration_ms"], 1),
                "status": one["status"],
                "error": one["error"],
            }
            for one in tries
        ],
    }
