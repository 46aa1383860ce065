"""The `Prefer` header (RFC 7240): shall the answer wait for the result, and how long?"""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.requests import Request

from milo.settings import Settings


@dataclass(frozen=True)
class Prefer:
    wait_s: float
    """0: answer at once."""
    applied: str | None
    """The value of `Preference-Applied`."""

    @property
    def headers(self) -> dict[str, str]:
        return {"Preference-Applied": self.applied, "Vary": "Prefer"} if self.applied else {"Vary": "Prefer"}


def read(request: Request, settings: Settings, asynchronous: bool = False) -> Prefer:
    """What the client prefers. What is unknown or malformed is ignored, as the RFC says; the first of each counts.

    `asynchronous`: something else in the request (a callback) already says not to wait.
    """
    preferences: dict[str, str] = {}
    for header in request.headers.getlist("prefer"):
        for item in header.split(","):
            name, _, value = item.split(";")[0].partition("=")
            preferences.setdefault(name.strip().lower(), value.strip().strip('"'))
    wait = preferences.get("wait", "")
    if "respond-async" in preferences:
        return Prefer(0, "respond-async")
    if asynchronous:
        return Prefer(0, None)
    if re.fullmatch(r"[0-9]{1,9}", wait):
        wait_s = min(float(wait), settings.max_wait_s)
        return Prefer(wait_s, f"wait={wait_s:.0f}")
    return Prefer(min(settings.wait_s, settings.max_wait_s), None)
