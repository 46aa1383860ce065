"""HTTP to a Milo server: problem documents become `MiloError`s again, and what may be repeated is repeated.

Knows nothing of jobs; `milo/client/client.py` does.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import httpx

from milo.errors import MiloError, Unauthorized, Unavailable

MAX_PAUSE_S = 10.0
NO_KEY = (
    "the server at {url} asks for a key: set MILO_API_KEY, or give --api-key. On the machine where Milo runs it is "
    "read from MILO_HOME, by the user who started it"
)
Content = Callable[[], Iterator[bytes]]
"""Opens the body anew for each try."""


class Http:
    """One server and one key. Thread-safe. `patience_s`: how long to go on trying while the server is away or busy."""

    def __init__(self, url: str, api_key: str, timeout_s: float, patience_s: float) -> None:
        self.url = url.rstrip("/")
        self.patience_s = patience_s
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Unavailable(f"{url!r} is not the URL of a server; write http://host:port", code="bad_url")
        if not (api_key.isascii() and api_key.isprintable()):
            raise Unauthorized("the API key holds characters that no key has; look at MILO_API_KEY", code="wrong_key")
        self._has_key = bool(api_key)
        self.is_local = parts.hostname in ("127.0.0.1", "localhost", "::1")
        self._client = httpx.Client(
            base_url=self.url,
            headers={"User-Agent": "milo-client"} | ({"Authorization": f"Bearer {api_key}"} if api_key else {}),
            timeout=httpx.Timeout(timeout_s, connect=min(timeout_s, 5)),
            trust_env=not self.is_local,  # a proxy can't reach this machine's own server
        )

    def close(self) -> None:
        self._client.close()

    def get(self, path: str, *, patience_s: float | None = None, timeout_s: float | None = None, **params: Any) -> Any:
        """The JSON of a GET. `None` parameters are left out."""
        return self.ask("GET", path, params=params, patience_s=patience_s, timeout_s=timeout_s)

    def post(self, path: str, document: Any = None, **headers: str) -> Any:
        """The JSON of a POST that is safe to repeat: it carries an Idempotency-Key."""
        headers = {"Idempotency-Key": str(uuid.uuid4()), **headers}
        return self.ask("POST", path, json=document, headers=headers)

    def ask(self, method: str, path: str, **how: Any) -> dict[str, Any]:
        """The document that `send` brings. Raises `Unavailable` (not_milo) for what no Milo says."""
        response = self.send(method, path, **how)
        with suppress(ValueError):
            document = response.json()
            if isinstance(document, dict):
                return document
        raise Unavailable(f"what answers at {self.url} is not Milo", code="not_milo")

    def send(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, Any] | None = None,
        json: Any = None,
        content: Content | None = None,
        headers: dict[str, str] | None = None,
        timeout_s: float | None = None,
        patience_s: float | None = None,
        accept: tuple[int, ...] = (),
    ) -> httpx.Response:
        """Send, and send again on 429, 503 and broken connections. Raises the `MiloError` of any other answer.

        An answer with a status in `accept` is returned as it is.
        """
        request: dict[str, Any] = {"params": {k: v for k, v in (params or {}).items() if v is not None}}
        request |= {"headers": headers} | ({} if json is None else {"json": json})
        request |= {} if timeout_s is None else {"timeout": httpx.Timeout(timeout_s, connect=5)}
        end = time.monotonic() + (self.patience_s if patience_s is None else patience_s)
        pause_s = 0.2
        while True:
            try:
                if content:
                    request["content"] = content()
                response = self._client.request(method, f"/api/v1{path}", **request)
                if response.is_success or response.status_code in accept:
                    return response
                error = error_of(response)
                if error.code == "no_key" and not self._has_key:
                    raise Unauthorized(NO_KEY.format(url=self.url), code="no_key")
            except httpx.TransportError as problem:
                error = Unavailable(
                    f"no answer from {self.url}: {problem or type(problem).__name__}. Is Milo up there?",
                    code="unreachable",
                )
            if not _worth_repeating(error):
                raise error
            wait_s = error.retry_after_s if error.retry_after_s is not None else pause_s * random.uniform(0.7, 1.3)
            if time.monotonic() + wait_s > end:
                raise error
            time.sleep(wait_s)
            pause_s = min(MAX_PAUSE_S, pause_s * 2)


def _worth_repeating(error: MiloError) -> bool:
    return error.status in (429, 503) and error.code != "model_unavailable" or error.code == "request_in_progress"


def error_of(response: httpx.Response) -> MiloError:
    """The error that a response describes: a problem document, or whatever came instead of one."""
    try:
        document = response.json()
    except ValueError:
        document = None
    if not isinstance(document, dict) or "detail" not in document:
        text = f"the server answered {response.status_code} {response.reason_phrase} to {response.request.url.path}"
        document = {"detail": text}
    error = MiloError.from_problem(document | {"status": response.status_code})
    pause = response.headers.get("retry-after", "")
    if pause.isdigit():
        error.retry_after_s = float(pause)
    return error
