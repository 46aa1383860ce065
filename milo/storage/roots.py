"""Which files of the server a request may name: those under MILO_AUDIO_ROOTS, whatever links, dots and chains say."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

from milo.errors import Forbidden, Invalid, NotFound

PATH_MAX_BYTES = 4096


def allowed_path(path: str, roots: Sequence[str]) -> str:
    """The path or URL, resolved, if it lies under one of the roots. Raises `Forbidden` or `NotFound`."""
    path = _as_local(path)
    if is_url(path):
        below = any(path.startswith(f"{root.rstrip('/')}/") for root in roots if is_url(_as_local(root)))
        if not below or _has_second_meaning(path):
            raise _not_allowed(path)
        return path
    real = Path(os.path.realpath(path))
    if not _is_below(real, roots):
        raise _not_allowed(path)
    if not real.exists():
        raise NotFound(f"there is no file {path!r} on the server", code="unknown_path")
    return str(real)


def named_path(name: str) -> Path:
    """A path as somebody wrote it, `~` resolved where it can be. Raises `Invalid` for what no file can be called."""
    if "\0" in name:
        raise Invalid("a path can't hold a null character", code="bad_path")
    name = os.path.expanduser(name)
    if len(os.fsencode(name)) >= PATH_MAX_BYTES or any(len(os.fsencode(part)) > 255 for part in name.split("/")):
        raise Invalid(f"{name[:80]!r}… is too long for a path", code="bad_path")
    return Path(name)


def open_below(path: str, roots: Sequence[str]) -> BinaryIO:
    """A regular file under a root. What was opened is checked again: a folder may have become a link meanwhile."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)  # a pipe would wait
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _not_allowed(path) from None
        raise
    real = Path(os.path.realpath(f"/proc/self/fd/{descriptor}"))
    if not (stat.S_ISREG(os.fstat(descriptor).st_mode) and _is_below(real, roots)):
        os.close(descriptor)
        raise _not_allowed(path)
    return os.fdopen(descriptor, "rb")


def is_url(path: str) -> bool:
    return "://" in path


def _as_local(path: str) -> str:
    """`file:///a` as `/a`, so that links and dots in it are resolved."""
    scheme, found, rest = path.partition("://")
    return rest if found and scheme.lower() in ("file", "local") else path


def _is_below(real: Path, roots: Sequence[str]) -> bool:
    local = (root for root in map(_as_local, roots) if not is_url(root))
    return any(real.is_relative_to(os.path.realpath(root)) for root in local)


def _has_second_meaning(url: str) -> bool:
    """Whether a store could read a URL otherwise than it looks: chains of fsspec, dots (encoded too), queries."""
    scheme, _, rest = url.partition("://")
    plain = unquote(unquote(rest))
    parts = plain.split("/")
    if "::" in plain or "\\" in plain or not plain.isprintable():
        return True
    if not {"", ".", ".."}.isdisjoint(parts[:-1]) or parts[-1] in (".", ".."):
        return True
    return scheme.lower() in ("http", "https") and not {"?", "#", "@"}.isdisjoint(plain)


def _not_allowed(path: str) -> Forbidden:
    detail = f"{path!r} is not under an allowed root; the operator lists them in MILO_AUDIO_ROOTS"
    return Forbidden(detail, code="path_not_allowed")
