"""Results as answers: one job's in any format, a batch's as a zip or as lines of JSON."""

from __future__ import annotations

import json
import re
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

from starlette.responses import JSONResponse, Response

from api.answers.documents import job_url
from api.answers.renderings import check_format, default_format, load, rendered
from api.http.deps import Context
from api.http.problems import document_response
from milo.errors import Conflict, MiloError
from milo.jobs import Job, iso

MAX_STEM = 120
PAGE = 200
_RESERVED = re.compile(r"^(con|prn|aux|nul|com\d|lpt\d)$", re.IGNORECASE)


def source_name(job: Job) -> str:
    """What people call the job: the name of its recording or text, else its place in the batch, else its id."""
    source = job.payload.get("source")
    named = source.get("name") if isinstance(source, dict) else job.payload.get("name")
    numbered = f"{job.batch_index + 1:05d}" if job.batch_index is not None else job.id
    return str(named or numbered)


def job_result(
    context: Context, job: Job, format: str | None, cues: str | None = None, revision: int | None = None
) -> Response:
    """The answer to GET …/result: the document, or the problem that stands in its place."""
    if format is not None:
        check_format(format, job.kind)
    not_there = unfinished(job)
    if not_there is not None:
        return not_there
    document = rendered(context, job, format or default_format(job.kind), cues, revision)
    name = f"{safe_stem(source_name(job))}.{document.extension}"
    headers = {"Content-Disposition": disposition("inline" if document.is_json else "attachment", name)}
    return Response(document.content, headers=headers, media_type=document.media_type)


def unfinished(job: Job) -> Response | None:
    """The problem of a job without a result: not finished, cancelled, or its own failure. None if it succeeded."""
    if job.state == "succeeded":
        return None
    if job.state == "failed":
        document = job.error or MiloError("the job failed").problem(job_url(job.id))
        return document_response(document, {"X-Job-Id": job.id})
    if job.state == "cancelled":
        error = Conflict(f"job {job.id} was cancelled; POST …/retry runs it again", code="cancelled")
        return document_response(error.problem(job_url(job.id)), {"X-Job-Id": job.id})
    error = Conflict(f"job {job.id} is {job.state}; its result is not there yet", code="not_finished")
    return document_response(error.problem(job_url(job.id)), {"X-Job-Id": job.id, "Retry-After": "1"})


def stt_answer(context: Context, job: Job, format: str | None, cues: str | None = None) -> Response:
    """The answer of a blocking POST /stt whose job succeeded."""
    if format not in (None, "json"):
        transcript = rendered(context, job, format or "json", cues)
        return Response(transcript.content, headers=headers_of(job), media_type=transcript.media_type)
    return json_answer(context, job, duration_ms=round(float(load(context, job).get("duration") or 0) * 1000))


def json_answer(context: Context, job: Job, **more: object) -> Response:
    """The result of a job that succeeded as it is stored, with the job's id and how long it took."""
    document = load(context, job) | more | {"job_id": job.id, "processing_ms": took_ms(job)}
    return JSONResponse(document, headers=headers_of(job))


def headers_of(job: Job) -> dict[str, str]:
    """What every blocking answer says of its job."""
    return {"Content-Location": f"{job_url(job.id)}/result", "X-Job-Id": job.id, "X-Milo-Job-Id": job.id}


def took_ms(job: Job) -> float:
    """From being accepted to the end."""
    return round(((job.finished_at or job.created_at) - job.created_at) * 1000, 1)


# --- names ------------------------------------------------------------------------------------------------------------


def safe_stem(name: str) -> str:
    """The last component of a name without its extension, fit to be a file name on any system."""
    return safe_path(name).rsplit("/", 1)[-1]


def safe_path(name: str) -> str:
    """A relative path without its extension, fit for any system: no `..`, no drive, no device, no control character."""
    parts = []
    for part in unicodedata.normalize("NFC", name).replace("\\", "/").split("/"):
        part = "".join("_" if c in '<>:"|?*' or unicodedata.category(c)[0] == "C" else c for c in part)
        part = part.strip(" .")
        if part:
            parts.append(f"_{part}" if _RESERVED.match(part.split(".")[0]) else part)
    if not parts:
        return "audio"
    stem = re.sub(r"\.[A-Za-z0-9]{1,8}$", "", parts[-1]) or parts[-1]
    return "/".join(_shorten(part) for part in (*parts[-8:-1], stem))


def _shorten(part: str) -> str:
    return part.encode()[:MAX_STEM].decode(errors="ignore").strip(" .") or "audio"


def disposition(kind: str, name: str) -> str:
    """A Content-Disposition header (RFC 6266) with the name in ASCII and in UTF-8 (RFC 8187)."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r'["\\;=%]', "_", plain)
    if plain.startswith("."):
        plain = f"audio{plain}"
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


class Names:
    """Hands out each stem once, whatever the case: the second `a` is `a-2`."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, stem: str) -> str:
        number, candidate = 1, stem
        while candidate.casefold() in self._taken:
            number += 1
            candidate = f"{stem}-{number}"
        self._taken.add(candidate.casefold())
        return candidate


# --- batches ----------------------------------------------------------------------------------------------------------


def _pages(context: Context, batch_id: str) -> Iterator[Job]:
    after = -1
    while jobs := context.ledger.batch_jobs(batch_id, after, PAGE):
        yield from jobs
        after = jobs[-1].batch_index or 0


def _line(context: Context, job: Job) -> dict[str, Any]:
    line: dict[str, Any] = {"index": job.batch_index, "name": source_name(job), "job_id": job.id, "state": job.state}
    line |= {"finished_at": iso(job.finished_at), "result": None, "error": job.error}
    if job.state == "succeeded":
        try:
            line["result"] = load(context, job)
        except MiloError as error:
            line["error"] = error.problem(job_url(job.id))
    return line


def batch_lines(context: Context, batch_id: str) -> Iterator[bytes]:
    """JSON Lines, one for each job, in the order they were given."""
    for job in _pages(context, batch_id):
        yield json.dumps(_line(context, job), ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def batch_array(context: Context, batch_id: str) -> Iterator[bytes]:
    """The same as one JSON array."""
    opening = b"[\n"
    for line in batch_lines(context, batch_id):
        yield opening + line.rstrip()
        opening = b",\n"
    yield b"[]\n" if opening == b"[\n" else b"\n]\n"


class _Pipe:
    """A file that a zip is written to and drained from while it grows; it can't seek, and zipfile copes with that."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes, /) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass

    def drain(self) -> bytes:
        drained, self._pieces = b"".join(self._pieces), []
        return drained


def batch_zip(context: Context, batch_id: str, formats: Iterable[str], cues: str | None = None) -> Iterator[bytes]:
    """A zip of every result in every format asked for, in a stream; what has none is told in `errors.json`."""
    pipe: Any = _Pipe()
    names = Names()
    errors: list[dict[str, Any]] = []
    names.take("errors")
    wanted = list(dict.fromkeys(formats))
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for job in _pages(context, batch_id):
            stem = names.take(safe_path(source_name(job)))
            try:
                if job.state != "succeeded":
                    raise Conflict(f"the job is {job.state}", code=job.state)
                documents = [rendered(context, job, format, cues) for format in wanted]
            except MiloError as error:
                problem = job.error if job.state == "failed" else error.problem(job_url(job.id))
                errors.append({"name": source_name(job), "job_id": job.id, "state": job.state, "error": problem})
                continue
            for one in documents:
                content = one.content if isinstance(one.content, bytes) else one.content.encode("utf-8", "replace")
                stored = zipfile.ZIP_STORED if one.media_type.startswith("audio/") else None
                archive.writestr(f"{stem}.{one.extension}", content, stored)
            yield pipe.drain()
        if errors:
            archive.writestr("errors.json", json.dumps(errors, ensure_ascii=False, indent=1))
    yield pipe.drain()
