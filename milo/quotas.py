"""What one key may have: how much of each, and the answer to who wants more. Knows nothing of how it is counted."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

from milo.errors import TooMany
from milo.jobs import OPERATOR, iso
from milo.settings import QUOTAS, Settings

Quota = Literal["sockets", "streams", "stored_bytes", "queued_audio_s", "compute_s", "requests"]
WHAT: dict[str, str] = {
    "sockets": "open conversations",
    "streams": "open event streams",
    "stored_bytes": "bytes of uploads",
    "queued_audio_s": "seconds of audio that waits",
    "compute_s": "seconds of computing in 24 hours",
    "requests": "requests in a minute",
}
HOW: dict[str, str] = {
    "sockets": "close one",
    "streams": "close one",
    "stored_bytes": "unused uploads go after the days of MILO_RETENTION_DAYS",
    "queued_audio_s": "wait until some of it is done",
    "compute_s": "wait until what was computed first is a day old",
    "requests": "wait for the next minute",
}


class QuotaExceeded(TooMany):
    """A 429 that says which quota, how much of it is used, what the most is, and when some may be free."""

    code, title = "quota_exceeded", "The key has used up a quota"

    def __init__(self, quota: Quota, used: float, limit: float, retry_after_s: float) -> None:
        detail = f"{used:g} {WHAT[quota]} of this key, and {limit:g} is the most: {HOW[quota]}"
        super().__init__(detail, retry_after_s=max(1.0, retry_after_s))
        self.quota, self.used, self.limit = quota, used, limit
        self.frees_at = time.time() + max(1.0, retry_after_s)

    def problem(self, instance: str | None = None) -> dict[str, Any]:
        numbers = {"used": round(self.used, 3), "limit": self.limit, "frees_at": iso(self.frees_at)}
        return super().problem(instance) | {"quota": self.quota} | numbers


@dataclass(frozen=True)
class Usage:
    """How much of a quota a key has used. `limit`: None where there is none."""

    quota: str
    used: float
    limit: float | None

    def document(self) -> dict[str, Any]:
        return {"quota": self.quota, "what": WHAT[self.quota], "used": round(self.used, 3), "limit": self.limit}


def limit_of(settings: Settings, owner: str, quota: Quota) -> float | None:
    """The most that a key may have; None: no limit, as for the operator's own key."""
    if owner == OPERATOR:
        return None
    own = settings.key_quotas.get(owner, {})
    most = float(own[quota] if quota in own else getattr(settings, f"key_{quota}"))
    return most or None


def check(settings: Settings, owner: str, quota: Quota, used: float, more: float, retry_after_s: float) -> None:
    """Raises `QuotaExceeded` when `more` is too much beside what is used."""
    limit = limit_of(settings, owner, quota)
    if limit is not None and used + more > limit:
        raise QuotaExceeded(quota, used, limit, retry_after_s)


def usages(settings: Settings, owner: str, used: dict[str, float]) -> list[Usage]:
    """Every quota of a key, in order."""
    return [Usage(quota, used.get(quota, 0.0), limit_of(settings, owner, quota)) for quota in QUOTAS]  # type: ignore[arg-type]
