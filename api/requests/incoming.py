"""A request that is to become a job: who sends it, whether it was sent before, and the row that it becomes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Depends
from pydantic import BaseModel
from starlette.requests import Request

from api.http import bodies, memory, prefer
from api.http.deps import Admin, Context, Ctx, Writer, in_thread
from api.http.prefer import Prefer
from api.requests import checks
from api.requests.owned import OwnBlobs
from milo.errors import Invalid
from milo.jobs import Job, NewJob, Priority
from milo.ledger.keys import Key
from milo.queue import wakeups
from milo.queue.connection import ping_redis
from milo.settings import Settings
from milo.webhooks import targets

Model = TypeVar("Model", bound=BaseModel)


@dataclass
class Incoming:
    """One request to make a job or a batch, its Idempotency-Key checked."""

    request: Request
    context: Context
    key: Key
    idempotency_key: str | None
    _redis_answered: bool = False
    _callback_checked: str | None = None

    @property
    def blobs(self) -> OwnBlobs:
        return OwnBlobs(self.context, self.key)

    async def read_json(self, model: type[Model]) -> Model:
        return await bodies.read_json(self.request, model)

    def prefer(self, callback_url: str | None) -> Prefer:
        """How long the client waits. One that is called back does not."""
        return prefer.read(self.request, self.context.settings, asynchronous=callback_url is not None)

    def need_redis(self) -> None:
        """Raises `Unavailable` within a second while Redis is away. It is asked once a request: before an upload is
        stored, else before the row is written."""
        if not self._redis_answered:
            ping_redis(self.context.settings)
            self._redis_answered = True

    def check_callback(self, url: str | None) -> None:
        """Whether a webhook may be sent there. Raises `Invalid` that points at `callback_url`."""
        if url is not None and url != self._callback_checked:
            _check_callback(self.context.settings, url)
            self._callback_checked = url

    def create(
        self,
        kind: str,
        check: Callable[[], BaseModel],
        *,
        callback_url: str | None = None,
        priority: Priority | None = None,
        default: Priority = "interactive",
    ) -> Job:
        """Check, write the row, wake a worker. Blocks. Sent again under one Idempotency-Key: the job of the first time.

        `check` makes the payload; `default` is the priority where the client asks for none.
        """
        self.check_callback(callback_url)
        payload = check().model_dump(mode="json")
        content = {"kind": kind, "payload": payload, "priority": priority, "callback_url": callback_url}
        new = NewJob(
            kind=kind,
            payload=payload,
            owner=self.key.name,
            priority=priority or default,
            callback_url=callback_url,
            idempotency_key=self.idempotency_key,
            fingerprint=self.fingerprint(content),
        )
        self.need_redis()
        return checks.writer_of(kind)(self.context, new)

    def fingerprint(self, content: object) -> str | None:
        """Hash of method, path and content, where uploaded audio counts by its sha256 and not by how it was sent.
        None where nothing tells a repeat."""
        if self.idempotency_key is None:
            return None
        text = json.dumps([self.request.method, self.request.url.path.rstrip("/"), content], sort_keys=True)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


async def _incoming(request: Request, context: Ctx, key: Writer) -> Incoming:
    return Incoming(request, context, key, idempotency_key(request))


async def _of_admin(request: Request, context: Ctx, key: Admin) -> Incoming:
    return Incoming(request, context, key, idempotency_key(request))


Submission = Annotated[Incoming, Depends(_incoming)]
"""Of a key that may write."""
AdminSubmission = Annotated[Incoming, Depends(_of_admin)]


def idempotency_key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    key = key.strip().strip('"')
    if not 0 < len(key) <= 255 or not key.isascii() or not key.isprintable():
        raise Invalid("an Idempotency-Key has 1 to 255 printable ASCII characters", code="bad_idempotency_key")
    return key


def _check_callback(settings: Settings, url: str) -> None:
    try:
        targets.check_url(settings, url)
    except Invalid as error:
        error.errors = [{"detail": error.detail, "pointer": "#/callback_url"}]
        raise


async def submit(incoming: Incoming, kind: str, check: Callable[[], BaseModel]) -> Job:
    """A job for a person who waits, of a client that knows no jobs (OpenAI's)."""
    return await in_thread(incoming.create, kind, check, default="realtime")


def publish_later(context: Context, batch_id: str) -> None:
    """Publish a large batch's wake-ups after the answer. Until then, and if it fails, the reconciler stands in."""

    def publish() -> None:
        after = -1
        while jobs := context.ledger.batch_jobs(batch_id, after):
            waiting: Sequence[Job] = [job for job in jobs if job.state == "queued"]
            if wakeups.submit_many(waiting) < len(waiting):
                return
            after = jobs[-1].batch_index or 0
        memory.give_back()

    context.background.submit(publish)
