"""Files of a hub, over HTTP: resumable, verified, and every refusal of the hub as a sentence."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from milo.errors import Forbidden, ModelUnavailable, NotFound, Unauthorized, Unavailable

if TYPE_CHECKING:
    import httpx

ATTEMPTS = 5
"""Tries without a single new byte before a download is given up."""


@dataclass(frozen=True)
class PullProgress:
    """How far a pull is. `done_bytes` counts what an earlier, cut pull left behind."""

    file: str
    done_bytes: int
    total_bytes: int


Progress = Callable[[PullProgress], None]


@dataclass(frozen=True)
class RemoteFile:
    name: str
    size: int
    sha256: str | None
    git_sha1: str | None
    """Of small files that are not in LFS: sha1 of `blob <size>\\0` and the content, as git names them."""


@dataclass(frozen=True)
class Repository:
    client: httpx.Client
    endpoint: str
    name: str

    def get(self, path: str, **params: str) -> Any:
        import httpx

        try:
            answer = self.client.get(f"{self.endpoint}{path}", params=params)
        except httpx.HTTPError as error:
            raise _unreachable(self.endpoint, self.name, error) from None
        _check(answer, self.name)
        try:
            return answer.json()
        except ValueError:
            raise Unavailable(f"{self.endpoint} does not answer like a model hub (no JSON at {path})") from None

    def head(self, commit: str, file: str, size: int) -> bytes:
        """The first bytes of a file, `size` of them where it has so many."""
        try:
            headers = {"Range": f"bytes=0-{size - 1}"}
            with self.client.stream("GET", self.url(commit, file), headers=headers) as answer:
                if not answer.is_success:
                    answer.read()
                    _check(answer, self.name)
                found = b""
                for block in answer.iter_raw():
                    found += block
                    if len(found) >= size:
                        break
                return found[:size]
        except httpx.HTTPError as error:
            raise _unreachable(self.endpoint, self.name, error) from None

    def url(self, commit: str, file: str) -> str:
        return f"{self.endpoint}/{self.name}/resolve/{commit}/{quote(file)}"


def _unreachable(endpoint: str, name: str, error: Exception) -> ModelUnavailable:
    return ModelUnavailable(
        f"{name} is not on this machine and {endpoint} can't be reached ({error or type(error).__name__})."
        " Pull it when the network is back, or name a local folder",
        retry_after_s=60,
    )


def _check(answer: httpx.Response, name: str) -> None:
    """Turn the hub's refusals into sentences."""
    if answer.is_success:
        return
    code = answer.headers.get("X-Error-Code", "")
    if code == "GatedRepo" or answer.status_code == 403:
        raise Forbidden(
            f"{name} is gated: accept its licence on its page, then set MILO_HF_TOKEN to a token of that account",
            code="model_gated",
        )
    if code == "RevisionNotFound":
        raise NotFound(f"{name} has no such revision on the hub", code="unknown_revision")
    if answer.status_code == 401:
        raise Unauthorized(
            f"the hub asks for a token for {name}: either there is no such model (check the spelling), or it is"
            " private or gated and MILO_HF_TOKEN is missing or wrong",
            code="hub_token_needed",
        )
    if answer.status_code == 404:
        raise NotFound(f"the hub has no model {name}; check the spelling", code="unknown_model")
    if answer.status_code == 429 or answer.status_code >= 500:
        raise Unavailable(f"the hub answers {answer.status_code} for {name}; try again later", retry_after_s=60)
    raise Unavailable(f"the hub answers {answer.status_code} for {name}: {answer.text[:200]}")


def fetch_all(repository: Repository, commit: str, files: list[RemoteFile], staging: Path, progress: Progress) -> None:
    total = sum(file.size for file in files)
    have = sum(path.stat().st_size for path in staging.iterdir() if path.is_file())
    free = shutil.disk_usage(staging).free
    if total - have > free:
        raise Unavailable(f"{repository.name} needs {total - have} bytes and {staging} has only {free} free")
    before = 0
    for file in files:
        progress(PullProgress(file.name, before, total))
        for size in _fetch(repository, commit, file, staging):
            progress(PullProgress(file.name, before + size, total))
        before += file.size
    progress(PullProgress(files[-1].name, total, total))


def _fetch(repository: Repository, commit: str, file: RemoteFile, staging: Path) -> Iterator[int]:
    """Bring one file to `staging`, going on where a `.part` file ends; yields the bytes that are there."""
    target, part = staging / file.name, staging / f"{file.name}.part"
    if target.is_file():
        if _matches(target, file):
            return
        target.unlink()
    damaged = 0
    while True:
        yield from _stream(repository, commit, file, part)
        if _matches(part, file):
            part.replace(target)
            return
        part.unlink(missing_ok=True)
        damaged += 1
        if damaged > 1:
            raise Unavailable(f"{file.name} of {repository.name} arrives damaged: its hash is not the hub's")


def _stream(repository: Repository, commit: str, file: RemoteFile, part: Path) -> Iterator[int]:
    """Append to `part` until it has the file's size; a cut connection is taken up again, with back-off."""
    import httpx

    failures = 0
    while True:
        have = part.stat().st_size if part.is_file() else 0
        if have >= file.size and part.is_file():
            return
        try:
            yield from _append(repository, commit, file, part, have)
            error: Exception = httpx.RemoteProtocolError("the connection ended early")
        except httpx.TransportError as cut:
            error = cut
        grown = (part.stat().st_size if part.is_file() else 0) > have
        failures = 0 if grown else failures + 1
        if part.is_file() and part.stat().st_size >= file.size:
            return
        if failures >= ATTEMPTS:
            raise _unreachable(repository.endpoint, repository.name, error)
        time.sleep(0 if grown else min(8.0, 0.25 * 2**failures))


def _append(repository: Repository, commit: str, file: RemoteFile, part: Path, have: int) -> Iterator[int]:
    headers = {"Range": f"bytes={have}-"} if have else {}
    with repository.client.stream("GET", repository.url(commit, file.name), headers=headers) as answer:
        if answer.status_code == 416:  # the part is not of this file
            part.unlink()
            return
        if not answer.is_success:
            answer.read()
            _check(answer, repository.name)
        resumed = answer.status_code == 206
        with part.open("ab" if resumed else "wb") as stream:
            size = have if resumed else 0
            for block in answer.iter_raw():
                size += len(block)
                if size > file.size:
                    stream.truncate(0)
                    raise Unavailable(f"{file.name} of {repository.name} is longer than the hub's listing says")
                stream.write(block)
                yield size
        if not file.size:
            part.touch()


def _matches(path: Path, file: RemoteFile) -> bool:
    if path.stat().st_size != file.size:
        return False
    digest = hashlib.sha256() if file.sha256 else hashlib.sha1(usedforsecurity=False)
    if not file.sha256:
        if not file.git_sha1:
            return True
        digest.update(b"blob %d\0" % file.size)
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest() == (file.sha256 or file.git_sha1)
