"""Pull a model from a hub into the registry: pinned, resumable, verified, safe files only.

Speaks the hub's HTTP protocol itself (https://huggingface.co/docs/hub/api): huggingface_hub 2 deletes a partial file
when its process ends, and a 3 GB model on a thin line needs to go on where it was cut.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from filelock import FileLock, Timeout

from milo.errors import Forbidden, Invalid, ModelUnavailable, NotFound, Unauthorized, Unavailable
from milo.models.files import PICKLES, SAFE_WEIGHTS, check_folder, read_json, valid_name, wanted
from milo.models.store import ResolvedModel, home_of, locked, point, problems, seal
from milo.settings import Settings
from milo.storage.secrets import private_home

ATTEMPTS = 5
"""Tries without a single new byte before a download is given up."""
TIMEOUT = httpx.Timeout(30, connect=10)


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
class _Repository:
    client: httpx.Client
    endpoint: str
    name: str

    def get(self, path: str, **params: str) -> Any:
        try:
            answer = self.client.get(f"{self.endpoint}{path}", params=params)
        except httpx.HTTPError as error:
            raise _unreachable(self.endpoint, self.name, error) from None
        _check(answer, self.name)
        try:
            return answer.json()
        except ValueError:
            raise Unavailable(f"{self.endpoint} does not answer like a model hub (no JSON at {path})") from None

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


def pull(
    settings: Settings,
    name: str,
    revision: str | None = None,
    progress: Progress | None = None,
    weights: str | None = None,
) -> ResolvedModel:
    """Fetch a hub model at a revision (branch, tag or commit; default `main`) and make it the current version.

    The revision is resolved to a commit first and the version is named after it. What a killed pull left is used
    again. `weights` is a glob that picks one of several GGUF files. Raises `ModelUnavailable` offline,
    `Unauthorized`, `Forbidden` or `NotFound` as the hub says, `Invalid` when it has only pickled weights.
    """
    if valid_name(name).count("--") != 1 or "/" not in name:
        raise Invalid(f"{name} is no hub id; those are written owner/name", code="bad_model_name")
    if settings.offline:
        raise ModelUnavailable(f"{name} is not on this machine, and MILO_OFFLINE forbids to ask the hub for it")
    home = home_of(settings, name)
    private_home(settings)
    home.mkdir(parents=True, exist_ok=True)
    lock = FileLock(home / ".pull.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise Unavailable(f"{name} is being pulled by another process", retry_after_s=15) from None
    headers = {"Accept-Encoding": "identity", "User-Agent": "milo"}
    if settings.hf_token:
        headers["Authorization"] = f"Bearer {settings.hf_token}"
    try:
        with httpx.Client(headers=headers, timeout=TIMEOUT, follow_redirects=True) as client:
            repository = _Repository(client, settings.hf_endpoint.rstrip("/"), name)
            return _pull(settings, repository, revision, progress or (lambda _: None), weights)
    finally:
        lock.release()


def _pull(
    settings: Settings, repository: _Repository, revision: str | None, progress: Progress, weights: str | None
) -> ResolvedModel:
    name, home = repository.name, home_of(settings, repository.name)
    path = f"/api/models/{name}" + (f"/revision/{quote(revision, safe='')}" if revision else "")
    document = repository.get(path, blobs="true")
    commit = str(document.get("sha", ""))
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise Unavailable(f"the hub names no commit for {name}")
    version = commit[:12]
    if not (home / version).is_dir() or problems(home / version):
        staging = home / f".pull-{commit}"
        staging.mkdir(exist_ok=True)
        _fetch_all(repository, commit, choose_files(name, document.get("siblings", []), weights), staging, progress)
        check_folder(staging)
        with locked(settings, name):
            seal(staging, home, version, source=f"{repository.endpoint}/{name}", revision=commit)
    with locked(settings, name):
        point(settings, name, version)
    for leftover in home.glob(".pull-*/"):
        shutil.rmtree(leftover, ignore_errors=True)
    return ResolvedModel(
        name, version, home / version, str(read_json(home / version / "manifest.json")["sha256"]), "hub"
    )


def choose_files(name: str, siblings: list[dict[str, Any]], weights: str | None = None) -> list[RemoteFile]:
    """The files that serving needs, weights last. `Invalid` when there are no weights that are safe to load."""
    listed = [str(item.get("rfilename", "")) for item in siblings]
    safe = [file for file in listed if wanted(file) and file.endswith(SAFE_WEIGHTS) and not file.startswith("adapter_")]
    shards = [file for file in safe if re.fullmatch(r"model-\d+-of-\d+\.safetensors", file)]
    if weights:
        chosen = [file for file in safe if fnmatch(file, weights)]
    elif "model.safetensors" in safe:
        chosen = ["model.safetensors"]
    else:
        chosen = shards or safe
    if not chosen:
        pickled = [file for file in listed if file.endswith(PICKLES)]
        if pickled and not safe:
            raise Invalid(
                f"{name} has only pickled weights ({', '.join(pickled[:3])}), which Milo never loads: a pickle can run"
                " any program. Look for a revision or a conversion with safetensors",
                code="unsafe_weights",
            )
        wish = f" that match {weights}" if weights else ""
        raise Invalid(f"{name} has no weights{wish}; it has {', '.join(sorted(listed)[:12])}", code="no_weights")
    if len(chosen) > 1 and chosen != shards:
        raise Invalid(
            f"{name} has several weight files; pick one: {', '.join(sorted(chosen)[:20])}", code="several_weights"
        )
    small = [file for file in listed if wanted(file) and not file.endswith(SAFE_WEIGHTS)]
    by_name = {str(item.get("rfilename")): item for item in siblings}
    return [_remote(by_name[file]) for file in (*small, *chosen)]


def _remote(item: dict[str, Any]) -> RemoteFile:
    lfs = item.get("lfs") or {}
    sha256, size = lfs.get("sha256") or lfs.get("oid"), lfs.get("size") or item.get("size")
    if not isinstance(size, int) or size < 0:
        raise Unavailable(f"the hub does not say how large {item.get('rfilename')} is")
    return RemoteFile(str(item["rfilename"]), size, sha256, None if sha256 else item.get("blobId"))


def _fetch_all(
    repository: _Repository, commit: str, files: list[RemoteFile], staging: Path, progress: Progress
) -> None:
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


def _fetch(repository: _Repository, commit: str, file: RemoteFile, staging: Path) -> Iterator[int]:
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


def _stream(repository: _Repository, commit: str, file: RemoteFile, part: Path) -> Iterator[int]:
    """Append to `part` until it has the file's size; a cut connection is taken up again, with back-off."""
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


def _append(repository: _Repository, commit: str, file: RemoteFile, part: Path, have: int) -> Iterator[int]:
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
