"""Links that let a browser's `<audio>`, which can send no header, play one recording for a while.

A link names the key it was made by and the second it ends, and is signed with a secret of this installation. It opens
the one path it was made for, to GET and HEAD, as long as that key is valid; the key itself never stands in it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

from starlette.types import Scope

from milo.settings import Settings
from milo.storage.vault import signing_key

LIFE_S = 900
PLAYED = re.compile(r"/api/v1/jobs/[^/]{1,100}/audio")
"""The only paths that links open."""
FIELDS = ("key_id", "expires", "signature")


@dataclass(frozen=True)
class Link:
    """Who may ask for which path, and until when (unix seconds)."""

    path: str
    key_id: str
    expires: int

    def url(self, settings: Settings) -> str:
        values = (self.key_id, str(self.expires), self._signature(settings))
        return f"{self.path}?{urlencode(dict(zip(FIELDS, values, strict=True)))}"

    def holds(self, settings: Settings, signature: str, now: float) -> bool:
        right = hmac.compare_digest(self._signature(settings).encode(), signature.encode())
        return right and now < self.expires <= now + LIFE_S + 1

    def _signature(self, settings: Settings) -> str:
        said = f"{self.path}\n{self.key_id}\n{self.expires}"
        return hmac.new(signing_key(settings, "links"), said.encode(), hashlib.sha256).hexdigest()


def new_link(path: str, key_id: str) -> Link:
    return Link(path, key_id, int(time.time()) + LIFE_S)


def offered(scope: Scope) -> tuple[Link, str] | None:
    """The link that a request without a key came by, and its signature, which is not checked yet."""
    if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD") or not PLAYED.fullmatch(scope["path"]):
        return None
    if any(name == b"authorization" for name, _ in scope["headers"]):
        return None
    given = dict(parse_qsl(scope["query_string"].decode("latin-1")))
    key_id, expires, signature = (given.get(name, "") for name in FIELDS)
    if not (key_id and signature and re.fullmatch(r"[0-9]{1,12}", expires)):
        return None
    return Link(scope["path"], key_id, int(expires)), signature
