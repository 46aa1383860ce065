"""Every error that Milo raises on purpose, and the problem document (RFC 9457) of each.

    MiloError
      BadRequest        400  the request can't be understood
      Unauthorized      401
      Forbidden         403
      NotFound          404
      Conflict          409
      Outdated          412  made for another state of the thing; look at it and ask again
      TooLarge          413  one of the limits; the detail says which
      BadMedia          415  not audio, or audio that can't be decoded
      Invalid           422  understood, and wrong
        ContextExceeded 422  a conversation that is longer than the model can read
      ConditionMissing  428  a change that needs an `If-Match`
      TooMany           429
      EngineError       500  a model failed at its work
        OutOfMemory     500  retryable with a smaller batch
        ModelBroken     500  it will fail again: its weights are damaged, or make nothing of this input
      Unavailable       503  a part of Milo is down or busy; retry later
        ModelUnavailable 503 the model is not here and can't be fetched
          ModelUnusable 503  its file or a setting has to be mended first
      LeaseLost         (never leaves the worker) another attempt owns the job now
      Cancelled         (never leaves the worker) somebody cancelled the job

`code` is the stable name that programs match on; the text is for people: what happened, which value, what to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class MiloError(Exception):
    """Root of all errors raised on purpose. `detail` is a sentence for a person."""

    code: str = "error"
    status: int = 500
    title: str = "Milo failed"
    retryable: bool = False
    """Whether the same request may succeed later. A class gives the defaults, an instance may say more."""

    def __init__(
        self,
        detail: str = "",
        *,
        code: str | None = None,
        retry_after_s: float | None = None,
        errors: list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.retry_after_s = retry_after_s
        self.errors = errors
        if code is not None:
            self.code = code

    @classmethod
    def from_problem(cls, problem: dict[str, Any]) -> MiloError:
        """The error that a problem document tells of: of a response, of a failed job, of another process."""
        code, status = str(problem.get("code") or ""), int(problem.get("status") or 500)
        kinds = list(_subclasses(MiloError))
        kind = next((k for k in kinds if k.code == code), None) or next((k for k in kinds if k.status == status), cls)
        detail = problem.get("detail")
        text = detail if isinstance(detail, str) else str(detail or problem.get("title") or "")
        error = kind(text, code=code or None, errors=problem.get("errors"))
        error.status = status
        error.title = str(problem.get("title") or kind.title)
        error.retryable = bool(problem.get("retryable", kind.retryable))
        return error

    def problem(self, instance: str | None = None) -> dict[str, Any]:
        """The error as an RFC 9457 document; `type` is a URN that ends in `code`."""
        document: dict[str, Any] = {
            "type": f"urn:milo:error:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "retryable": self.retryable,
        }
        if instance:
            document["instance"] = instance
        if self.errors:
            document["errors"] = self.errors
        return document


class BadRequest(MiloError):
    code, status, title = "bad_request", 400, "The request can't be understood"


class Unauthorized(MiloError):
    code, status, title = "unauthorized", 401, "A valid API key is needed"


class Forbidden(MiloError):
    code, status, title = "forbidden", 403, "Not allowed"


class NotFound(MiloError):
    code, status, title = "not_found", 404, "Not found"


class Conflict(MiloError):
    code, status, title = "conflict", 409, "That conflicts with the present state"


class Outdated(MiloError):
    code, status, title = "outdated", 412, "Somebody changed it meanwhile"


class TooLarge(MiloError):
    code, status, title = "too_large", 413, "Over a limit"


class BadMedia(MiloError):
    code, status, title = "bad_media", 415, "The audio can't be read"


class Invalid(MiloError):
    code, status, title = "invalid", 422, "A value is wrong"


class ContextExceeded(Invalid):
    """The code is OpenAI's."""

    code, title = "context_length_exceeded", "Longer than the model can read"


class ConditionMissing(MiloError):
    code, status, title = "condition_missing", 428, "The change must say what it was made for"


class TooMany(MiloError):
    code, status, title, retryable = "too_many", 429, "Too many requests", True


class EngineError(MiloError):
    code, status, title, retryable = "engine_error", 500, "The model failed", True


class OutOfMemory(EngineError):
    code, title = "out_of_memory", "Out of memory"


class ModelBroken(EngineError):
    """The same model will fail at the same input again."""

    code, title, retryable = "model_broken", "The model is broken", False


class Unavailable(MiloError):
    code, status, title, retryable = "unavailable", 503, "A part of Milo is not available", True


class ModelUnavailable(Unavailable):
    code, title = "model_unavailable", "The model is not available"


class ModelUnusable(ModelUnavailable):
    """Asking again mends nothing: a file is missing or broken, or a setting is wrong."""

    code, title, retryable = "model_unusable", "The model can't be used", False


class LeaseLost(MiloError):
    code, status, title = "lease_lost", 409, "Another attempt owns this job"


class Cancelled(MiloError):
    code, status, title = "cancelled", 409, "The job was cancelled"


def _subclasses(root: type[MiloError]) -> Iterator[type[MiloError]]:
    for child in root.__subclasses__():
        yield child
        yield from _subclasses(child)
