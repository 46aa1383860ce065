"""Pull a model from a hub into the registry: pinned, resumable, verified, safe files only.

Speaks the hub's HTTP protocol itself (https://huggingface.co/docs/hub/api): huggingface_hub 2 deletes a partial file
when its process ends, and a 3 GB model on a thin line needs to go on where it was cut.
"""

from __future__ import annotations

import re
import shutil
from fnmatch import fnmatch
from typing import Any
from urllib.parse import quote

from filelock import FileLock, Timeout

from milo.errors import Invalid, ModelUnavailable, Unavailable
from milo.models.download import Progress, RemoteFile, Repository, fetch_all
from milo.models.files import CT2_WEIGHTS, PICKLES, SAFE_WEIGHTS, check_folder, read_json, valid_name, wanted
from milo.models.formats import HEAD_BYTES, WHAT, format_of_bytes
from milo.models.store import ResolvedModel, home_of, locked, point, problems, seal
from milo.settings import Settings
from milo.storage.secrets import private_home

TIMEOUT_S, CONNECT_S = 30, 10


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
    import httpx  # most processes that know of models pull none

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
        timeout = httpx.Timeout(TIMEOUT_S, connect=CONNECT_S)
        with httpx.Client(headers=headers, timeout=timeout, follow_redirects=True) as client:
            repository = Repository(client, settings.hf_endpoint.rstrip("/"), name)
            return _pull(settings, repository, revision, progress or (lambda _: None), weights)
    finally:
        lock.release()


def _pull(
    settings: Settings, repository: Repository, revision: str | None, progress: Progress, weights: str | None
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
        siblings = document.get("siblings", [])
        compiled = _holds_ctranslate2(repository, commit, siblings)
        fetch_all(repository, commit, choose_files(name, siblings, weights, compiled), staging, progress)
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


def _holds_ctranslate2(repository: Repository, commit: str, siblings: list[dict[str, Any]]) -> bool:
    """Whether the repository's weights are CTranslate2's model.bin, as its first bytes tell.

    Most files that end in .bin are pickles, and are not asked for. Raises `Invalid` for those of whisper.cpp.
    """
    listed = [str(item.get("rfilename", "")) for item in siblings]
    if any(wanted(file) and file.endswith(SAFE_WEIGHTS) for file in listed):
        return False
    if CT2_WEIGHTS in listed:
        return format_of_bytes(repository.head(commit, CT2_WEIGHTS, HEAD_BYTES)) == "ctranslate2"
    ggml = next((file for file in listed if file.startswith("ggml-") and file.endswith(".bin")), None)
    if ggml and format_of_bytes(repository.head(commit, ggml, HEAD_BYTES)) == "whisper.cpp":
        raise Invalid(f"{ggml} of {repository.name} is {WHAT['whisper.cpp']}", code="no_weights")
    return False


def choose_files(
    name: str, siblings: list[dict[str, Any]], weights: str | None = None, compiled: bool = False
) -> list[RemoteFile]:
    """The files that serving needs, weights last. `Invalid` when there are no weights that are safe to load.

    `compiled`: its model.bin is CTranslate2's.
    """
    listed = [str(item.get("rfilename", "")) for item in siblings]
    safe = [file for file in listed if wanted(file) and file.endswith(SAFE_WEIGHTS) and not file.startswith("adapter_")]
    shards = [file for file in safe if re.fullmatch(r"model-\d+-of-\d+\.safetensors", file)]
    safe += [CT2_WEIGHTS] * compiled
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
