"""Which files of the server a request may name: those under MILO_AUDIO_ROOTS, whatever links, dots and chains say."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

from milo.errors import Forbidden, Invalid, NotFound
from milo.settings import Settings
from milo.storage.opening import Places, as_local

PATH_MAX_BYTES = 4096


def allowed_path(path: str, settings: Settings) -> str:
    """The path or URL, resolved, if it lies under one of MILO_AUDIO_ROOTS. Raises `Forbidden` or `NotFound`."""
    path = as_local(path)
    if is_url(path):
        below = any(path.startswith(f"{root.rstrip('/')}/") for root in settings.audio_roots if is_url(as_local(root)))
        if not below or _has_second_meaning(path):
            raise _not_allowed(path)
        return path
    real = Path(os.path.realpath(path))
    if not Places.of(settings).contain(str(real)):
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


def open_below(path: str, settings: Settings) -> BinaryIO:
    """A regular file under a root, as `opening` opens files. Raises `Forbidden` for whatever else is there."""
    places = Places.of(settings)
    if places.look(path) is None and os.path.lexists(path):
        raise _not_allowed(path)
    return places.open(path)


def is_url(path: str) -> bool:
    return "://" in path


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
