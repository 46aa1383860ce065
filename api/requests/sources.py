"""Recordings that a request names: stored blobs, and files under an allowed root."""

from __future__ import annotations

import os
import stat

from api.http.deps import Context
from api.requests.owned import OwnBlobs
from milo.errors import Forbidden, Invalid, NotFound
from milo.jobs import AudioSource
from milo.kinds.fields import MAX_NAME
from milo.ledger.keys import Key
from milo.terminal import hidden_in, visible


def check_source(context: Context, key: Key, source: AudioSource) -> AudioSource:
    """The blob is stored, and the key's, or the path is a file under an allowed root. Paths come back resolved."""
    if len(source.name) > MAX_NAME:
        raise Invalid(f"a name has at most {MAX_NAME} characters")
    for name in (source.name, source.path or ""):
        check_name(name)
    if source.blob:
        if OwnBlobs(context, key).size(source.blob) is None:
            raise Invalid(
                f"the blob {source.blob} is not stored here; send it to POST /api/v1/blobs", code="unknown_blob"
            )
        return source
    return source.model_copy(update={"path": check_path(context, source.path or "")})


def check_path(context: Context, path: str) -> str:
    """A regular file under an allowed root, resolved. `Forbidden` or `Invalid` otherwise."""
    try:
        real = context.files.allowed_path(path)
    except NotFound as error:
        raise Invalid(error.detail, code=error.code) from None
    except (ValueError, OSError) as error:
        raise Invalid(f"{path!r} can't be a path: {error}", code="unknown_path") from None
    if "://" not in real:
        try:
            mode = os.stat(real).st_mode
        except OSError as error:
            raise Invalid(f"{path!r} can't be read: {error.strerror}", code="unknown_path") from None
        if not stat.S_ISREG(mode):
            raise Invalid(f"{path!r} is not a file; POST /api/v1/batches takes folders", code="not_a_file")
        if not os.access(real, os.R_OK):
            raise Forbidden(f"the server may not read {path!r}", code="unreadable")
    return real


def file_name(given: str | None, fallback: str = "audio") -> str:
    """What an uploaded file is called: its last component. `Invalid` for one that would drive a terminal."""
    name = (given or "").replace("\\", "/").rsplit("/", 1)[-1].strip().encode("utf-8", "replace").decode()
    check_name(name)
    return name[:MAX_NAME] or fallback


def check_name(name: str) -> None:
    """`Invalid` for a name that would drive a terminal, or shows another name than it is."""
    if hidden := hidden_in(name):
        detail = (
            f"there is a control or invisible character ({hidden}) in the name {visible(name[:100], one_line=True)!r}"
        )
        raise Invalid(detail, code="bad_name")
