"""Secrets that Milo makes for itself, once, and keeps under MILO_HOME/secrets: files of the owner alone (0600).

And the home itself, which holds recordings, results and keys' digests: made for the owner alone (0700).
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from milo.settings import Settings

API_KEY = "api_key"
"""Name of the file of the operator's key."""


def operator_key(settings: Settings) -> str:
    """The operator's key: the one in MILO_API_KEY, or that of this home, made now if there is none yet."""
    return settings.api_key or kept(settings, API_KEY, lambda: "milo_" + secrets.token_urlsafe(32))


def known_operator_key(settings: Settings) -> str:
    """The same, without making one; empty when there is none."""
    return settings.api_key or known(settings, API_KEY) or ""


def private_home(settings: Settings) -> Path:
    """MILO_HOME, made if need be, for its owner alone. One that was there is closed to others, too, if it is empty or
    a Milo has lived in it; a folder of other things keeps its mode, and `exposure` tells of it."""
    home = settings.home
    if not home.exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        home.mkdir(mode=0o700, exist_ok=True)
    mode = home.stat()
    if mode.st_mode & 0o077 and mode.st_uid == os.geteuid() and _is_a_home(home):
        home.chmod(0o700)
    return home


def _is_a_home(folder: Path) -> bool:
    """Not `/tmp`, nor whatever else somebody named by mistake."""
    return any((folder / own).exists() for own in ("secrets", "ledger.sqlite3")) or not any(folder.iterdir())


def private_files() -> None:
    """From now on this process and what it starts make files for their owner alone."""
    os.umask(0o077)


def exposure(settings: Settings) -> str | None:
    """A sentence when other users of this machine may read or write MILO_HOME."""
    mode = settings.home.stat().st_mode
    if not mode & 0o077:
        return None
    may = "write" if mode & 0o022 else "read"
    return f"Other users of this machine may {may} {settings.home}: `chmod 700 {settings.home}` closes it."


def kept(settings: Settings, name: str, make: Callable[[], str]) -> str:
    """The secret of that name, made by `make` the first time. Two processes at once get the same one."""
    path = _path(settings, name)
    if not path.exists():
        private_home(settings)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        fresh = _write(path.with_name(f".{name}.{os.getpid()}"), make() + "\n")
        try:
            os.link(fresh, path)  # fails if another process was first: then theirs counts
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    os.chmod(path.parent, 0o700)  # a copy of a home may have lost the modes
    os.chmod(path, 0o600)
    return path.read_text().strip()


def known(settings: Settings, name: str) -> str | None:
    """The secret of that name, if it was made already."""
    try:
        return _path(settings, name).read_text().strip()
    except OSError:
        return None


def write_private(settings: Settings, name: str, content: str) -> Path:
    """Write a file that holds a secret, for a program that reads it; whole, and for the owner alone."""
    path = _path(settings, name)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.replace(_write(path.with_name(f".{name}.{os.getpid()}"), content), path)
    return path


def _path(settings: Settings, name: str) -> Path:
    return settings.secrets_folder / name


def _write(path: Path, content: str) -> Path:
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(content)
    return path
