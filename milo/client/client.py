"""The Python client: what the command line and the benchmarks use, and what an own program may use.

    from milo.client import Milo

    with Milo("http://127.0.0.1:8000", "my-key") as milo:
        print(milo.transcribe("talk.ogg", language="mg").text)

Times of jobs and batches are RFC 3339 in UTC. Errors are those of `milo.errors`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from milo.addresses import is_loopback
from milo.client.http import Http
from milo.client.sources import ServerPath, Source, prepare
from milo.client.views import Batch, Job
from milo.errors import BadRequest, Conflict, NotFound, Unavailable
from milo.transcription.transcript import Transcript

if TYPE_CHECKING:
    from milo.settings import Settings

POLL_S = 20
PAGE = 100
View = TypeVar("View", Job, Batch)


class Milo:
    """A Milo server. Thread-safe; close it, or use it in a `with`.

    Without `api_key` it is that of MILO_API_KEY, or, for a server on this machine, the one that is kept in MILO_HOME.

    `timeout` is seconds per request. What may be repeated (everything but a lost upload of an unnamed stream) is
    repeated for `patience_s` seconds while the server is away or busy.
    """

    def __init__(
        self, url: str | None = None, api_key: str | None = None, timeout: float = 60, *, patience_s: float = 30
    ) -> None:
        if url is None or api_key is None:
            from milo.settings import get_settings  # here: who names the server needs no settings

            url = url or get_settings().url
            api_key = api_key or key_for(get_settings(), url)
        self.http = Http(url, api_key, timeout, patience_s)

    def __enter__(self) -> Milo:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.http.close()

    def health(self, patience_s: float | None = None) -> dict[str, Any]:
        """The health document, also of a server that is down. Raises `Unavailable` when no Milo answers there."""
        document = self.http.ask("GET", "/health", patience_s=patience_s, accept=(503,))
        if "checks" in document:
            return document
        raise Unavailable(f"what answers at {self.http.url} is not Milo", code="not_milo")

    def status(self, patience_s: float | None = None) -> dict[str, Any]:
        """The status document: phase, training, GPU, queues, alerts."""
        return self.http.ask("GET", "/status", patience_s=patience_s)

    def models(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.http.get("/models")["items"]
        return items

    # --- audio in ---

    def upload(self, source: Source) -> str:
        """Send a recording, unless the server has it already. Returns its id: the sha256 of its bytes."""
        digest, size_bytes, content = prepare(source)
        try:
            self.http.get(f"/blobs/{digest}")
            return digest
        except NotFound:
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size_bytes)}
            answer = self.http.ask("POST", "/blobs", content=content, headers=headers)
        if answer["id"] != digest:
            raise Conflict(f"{source!r:.100} changed while it was being sent", code="changed_file")
        return digest

    def _item(self, source: Source | ServerPath) -> dict[str, Any]:
        """The source as the fields of a request."""
        if isinstance(source, ServerPath):
            return {"path": str(source), "name": Path(source).name}
        name = Path(source).name if isinstance(source, (str, os.PathLike)) else getattr(source, "name", None)
        item = {"blob": self.upload(source)}
        return {**item, "name": Path(name).name} if isinstance(name, str) else item

    # --- one recording ---

    def transcribe(self, source: Source | ServerPath, **options: Any) -> Transcript:
        """Transcribe and wait. Options: language, task, prompt, word_timestamps, beam_size, temperature, model,
        channels.

        Goes before everything that is not waited for. Raises what the server says is wrong with the recording.
        """
        request = {**self._item(source), **_given(options)}
        answer = self.http.post("/stt", request, Prefer=f"wait={POLL_S}")
        if "segments" in answer:
            return Transcript.model_validate(answer)
        return self.transcript(self.wait(str(answer["id"])).check())

    def submit(self, source: Source | ServerPath, *, callback_url: str | None = None, **options: Any) -> Job:
        """Queue one recording. The options of `transcribe`, and `priority`."""
        request = {**self._item(source), **_given({"callback_url": callback_url, **options})}
        return Job.model_validate(self.http.post("/stt", request, Prefer="respond-async"))

    def submit_job(self, kind: str, payload: Mapping[str, Any], **options: Any) -> Job:
        """Queue a job of any kind, by its payload."""
        return Job.model_validate(self.http.post("/jobs", {"kind": kind, "payload": dict(payload), **_given(options)}))

    # --- jobs ---

    def job(self, job_id: str) -> Job:
        return Job.model_validate(self.http.get(f"/jobs/{job_id}"))

    def wait(
        self, job_id: str, timeout_s: float | None = None, on_progress: Callable[[Job], None] | None = None
    ) -> Job:
        """The job when it has ended (see `Job.check`). Raises `TimeoutError` after `timeout_s`."""
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = POLL_S if end is None else max(0.0, min(POLL_S, end - time.monotonic()))
            poll_s = min(left_s, 1.0) if on_progress else left_s
            job = Job.model_validate(self.http.get(f"/jobs/{job_id}", wait=f"{poll_s:g}", timeout_s=poll_s + 30))
            if on_progress:
                on_progress(job)
            if job.final:
                return job
            if end is not None and time.monotonic() >= end:
                raise TimeoutError(f"job {job_id} is still {job.state} after {timeout_s:g} s")

    def result(self, job_id: str, format: str = "json") -> str:
        """The result of a job that succeeded, rendered: txt, srt, vtt, tsv, json, verbose_json."""
        return self.http.send("GET", f"/jobs/{job_id}/result", params={"format": format}).text

    def transcript(self, job: Job) -> Transcript:
        """The result of a job that succeeded, as an object."""
        if job.result is not None and "segments" in job.result:
            return Transcript.model_validate(job.result)
        return Transcript.model_validate_json(self.result(job.id, "json"))

    def edit(self, job_id: str, operations: Iterable[Mapping[str, Any]], *, revision: int) -> dict[str, Any]:
        """Edit revision `revision` of a transcript, which must be the newest (0: nobody has edited it). Returns the
        revision that was made. Raises `Outdated` when somebody else was faster."""
        return self._revise(job_id, revision, {"operations": [dict(one) for one in operations]})

    def undo(self, job_id: str, *, revision: int) -> dict[str, Any]:
        """Take back the newest edit of a transcript."""
        return self._revise(job_id, revision, {"action": "undo"})

    def restore(self, job_id: str, to: int, *, revision: int) -> dict[str, Any]:
        """The text of revision `to` again; 0 is what the machine heard."""
        return self._revise(job_id, revision, {"action": "restore", "revision": to})

    def _revise(self, job_id: str, revision: int, request: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self.http.post(
            f"/transcripts/{job_id}/revisions", request, **{"If-Match": f'"r{revision}"'}
        )
        return answer

    def revisions(self, job_id: str) -> Iterator[dict[str, Any]]:
        """Who edited a transcript and when, newest first."""
        before: int | None = None
        while True:
            page = self.http.get(f"/transcripts/{job_id}/revisions", before=before)
            yield from page["items"]
            before = page["next"]
            if before is None:
                return

    def give_to_training(self, job_id: str, give: bool = True) -> dict[str, Any]:
        """A transcript and its recording may be used for training from now on; with `give=False`, not any more."""
        return self.http.ask("PUT" if give else "DELETE", f"/transcripts/{job_id}/consent")

    def corrections(self, segments: str = "edited") -> Job:
        """Queue a data set of what was corrected and given. The job's result has its `path` on the server."""
        return Job.model_validate(self.http.post("/corrections", {"segments": segments}))

    def search(self, query: str, *, limit: int | None = None, **filters: Any) -> Iterator[dict[str, Any]]:
        """Segments of transcripts that hold every word, those made or edited last first. Filters: language, speaker,
        batch, transcript, min_confidence, max_confidence, since, until."""
        before: int | None = None
        while limit is None or limit > 0:
            size = PAGE if limit is None else min(PAGE, limit)
            page = self.http.get("/search", q=query, before=before, limit=size, **filters)
            yield from page["items"]
            before = page["next"]
            if before is None:
                return
            limit = None if limit is None else limit - len(page["items"])

    def cancel(self, job_id: str) -> Job:
        return Job.model_validate(self.http.ask("DELETE", f"/jobs/{job_id}"))

    def retry(self, job_id: str) -> Job:
        """Queue a job that failed or was cancelled once more."""
        return Job.model_validate(self.http.post(f"/jobs/{job_id}/retry"))

    def jobs(self, *, limit: int | None = None, **filters: Any) -> Iterator[Job]:
        """Jobs, newest first, page by page. Filters: kind, state, batch_id."""
        return _pages(self.http, "/jobs", Job, limit, "before", filters)

    # --- trainings ---

    def train(self, recipe: Mapping[str, Any], *, callback_url: str | None = None) -> Job:
        """Queue a training. Raises what is wrong with the recipe, its model or its data."""
        request = {"recipe": dict(recipe), **_given({"callback_url": callback_url})}
        return Job.model_validate(self.http.post("/trainings", request))

    def training(self, job_id: str) -> dict[str, Any]:
        """The job of a training, and `run`: its id, summary and latest alerts; None before it begins."""
        document: dict[str, Any] = self.http.get(f"/trainings/{job_id}")
        return document

    # --- batches ---

    def batch(
        self,
        sources: Iterable[Source | ServerPath | Mapping[str, Any]],
        *,
        name: str | None = None,
        callback_url: str | None = None,
        uploads: int = 4,
        **options: Any,
    ) -> BatchHandle:
        """Upload (several at a time) and queue many recordings. A mapping is taken as `{blob|path, name}`.

        Items keep the order of `sources`. Options: those of `transcribe`.
        """

        def item(source: Source | ServerPath | Mapping[str, Any]) -> dict[str, Any]:
            return dict(source) if isinstance(source, Mapping) else self._item(source)

        with ThreadPoolExecutor(uploads, thread_name_prefix="upload") as pool:
            items = list(pool.map(item, sources))
        request = {"kind": "stt", "items": items, "options": _given(options)}
        request |= _given({"name": name, "callback_url": callback_url})
        return BatchHandle(self, Batch.model_validate(self.http.post("/batches", request)))

    def batch_handle(self, batch_id: str) -> BatchHandle:
        """A batch that was queued earlier. Raises `NotFound`."""
        return BatchHandle(self, Batch.model_validate(self.http.get(f"/batches/{batch_id}")))

    def batches(self, *, limit: int | None = None, **filters: Any) -> Iterator[Batch]:
        return _pages(self.http, "/batches", Batch, limit, "before", filters)


class BatchHandle:
    """A batch on the server. `latest` is what was last heard of it."""

    def __init__(self, milo: Milo, batch: Batch) -> None:
        self.id = batch.id
        self.latest = batch
        self._milo = milo

    def progress(self) -> Batch:
        """Ask the server how far it is."""
        self.latest = Batch.model_validate(self._milo.http.get(f"/batches/{self.id}"))
        return self.latest

    def wait(
        self, on_progress: Callable[[Batch], None] | None = None, timeout_s: float | None = None, poll_s: float = 0.5
    ) -> Batch:
        """Until every job has ended. Raises `TimeoutError` after `timeout_s`."""
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while not self.progress().final:
            if on_progress:
                on_progress(self.latest)
            if end is not None and time.monotonic() >= end:
                raise TimeoutError(f"batch {self.id} is still {self.latest.state} after {timeout_s:g} s")
            time.sleep(poll_s)
        if on_progress:
            on_progress(self.latest)
        return self.latest

    def jobs(self) -> Iterator[Job]:
        """Its jobs, in the order they were given."""
        return _pages(self._milo.http, f"/batches/{self.id}/jobs", Job, None, "after", {})

    def results(self, format: str = "json") -> Iterator[tuple[Job, str]]:
        """Each job that succeeded, with its result rendered."""
        for job in self.jobs():
            if job.state == "succeeded":
                yield job, self._milo.result(job.id, format)

    def download(self, path: str | os.PathLike[str], format: str = "zip", formats: str | None = None) -> Path:
        """All results as one file (`zip`, with every format of `formats`, or one long document)."""
        target = Path(path)
        params = {"format": format, "formats": formats}
        target.write_bytes(self._milo.http.send("GET", f"/batches/{self.id}/results", params=params).content)
        return target

    def cancel(self) -> Batch:
        self.latest = Batch.model_validate(self._milo.http.ask("DELETE", f"/batches/{self.id}"))
        return self.latest


def key_for(settings: Settings, url: str) -> str:
    """The key for a server: MILO_API_KEY; else the one of this home, which goes to no other machine; else none."""
    from milo.storage.secrets import known_operator_key

    host = urlsplit(url).hostname
    ours = host is not None and (is_loopback(host) or host == settings.host)
    return known_operator_key(settings) if ours else settings.api_key


def verify_webhook(headers: Mapping[str, str], body: bytes | str, secret: str) -> dict[str, Any]:
    """The content of a webhook whose signature is right. Raises `BadRequest` (code `bad_signature`) otherwise.

    Give the body as it came, byte for byte. https://www.standardwebhooks.com
    """
    from standardwebhooks.webhooks import Webhook, WebhookVerificationError

    try:
        document: dict[str, Any] = Webhook(secret).verify(body, dict(headers))
    except (WebhookVerificationError, ValueError) as error:
        raise BadRequest(f"this is no webhook of this server: {error}", code="bad_signature") from None
    return document


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _pages(
    http: Http, path: str, model: type[View], limit: int | None, cursor: str, filters: Mapping[str, Any]
) -> Iterator[View]:
    following: Any = None
    while limit is None or limit > 0:
        size = PAGE if limit is None else min(PAGE, limit)
        page = http.get(path, limit=size, **{cursor: following}, **filters)
        yield from (model.model_validate(item) for item in page["items"])
        following = page.get("next")
        if following is None or not page["items"]:
            return
        limit = None if limit is None else limit - len(page["items"])
