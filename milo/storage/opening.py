"""The one way to open a file that a request, a row of a data set, a recipe or a model names.

What is opened is what was checked: the file is pinned by a descriptor that can't be read from (`O_PATH`), which waits
for no pipe and wakes no device; the kernel tells where that descriptor lies and what it is; and only then it is read.
A folder that becomes a link between the check and the opening changes nothing. Needs Linux's /proc.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import BinaryIO, TextIO

from milo.errors import NotFound, TooLarge
from milo.settings import Settings

MOST_RECORDING_BYTES = 8 * 1024**3
"""Six hours of 24-bit stereo at 48 kHz are 6.2 GB."""
MOST_TABLE_BYTES = 1024**3
"""Of a table, a list or a transcript: its rows are held in memory."""
_KERNEL = ("/proc", "/sys")
"""Their files are regular by name only."""
Name = str | os.PathLike[str]


@dataclass(frozen=True)
class Places:
    """The folders below which files may be opened, whatever links, dots and chains a path goes through."""

    folders: tuple[str, ...] = ()
    """Absolute, without links."""
    home: str = ""
    """MILO_HOME: nothing in it is opened because a folder around it is named, only because one within it is."""
    closed: bool = False
    """A data set's own folder is not added: it is read as far as it lies in `folders`."""

    @classmethod
    def of(cls, settings: Settings, confined: bool = False) -> Places:
        """The folders of MILO_AUDIO_ROOTS; `confined`: of somebody who may read nothing else."""
        return cls(_local(settings.audio_roots), os.path.realpath(settings.home), confined)

    def own(self, folder: Name) -> Places:
        """And the folder of the data set that is read, unless that has to lie in one of them."""
        return self if self.closed else self.and_made(folder)

    def and_made(self, folder: Name) -> Places:
        """And a folder that Milo has filled."""
        return replace(self, folders=(*self.folders, os.path.realpath(folder)))

    def contain(self, real: str) -> bool:
        """Whether a path without links is in one of the folders."""
        around = [folder for folder in self.folders if is_below(real, folder)]
        if self.home and is_below(real, self.home):
            around = [folder for folder in around if folder != self.home and is_below(folder, self.home)]
        return bool(around)

    def look(self, path: Name) -> os.stat_result | None:
        """What is known of a regular file in one of the folders; None for all else, there or not."""
        return _look(path, self.contain)

    def has(self, path: Name) -> bool:
        return self.look(path) is not None

    def open(self, path: Name, most_bytes: int = MOST_RECORDING_BYTES) -> BinaryIO:
        """The file, for reading. `NotFound`, in the same words, for one that is elsewhere, is none, or is not there
        (to the operator, whose sets are not confined, with the code `outside` for one that is there); `TooLarge`;
        `OSError` for one that can't be read."""
        try:
            return _open(path, most_bytes, self.contain)
        except NotFound:
            if not self.closed and _is_there(path):
                detail = f"{os.fspath(path)!r} is no file of the set's own folder, nor of a folder in MILO_AUDIO_ROOTS"
                raise NotFound(detail, code="outside") from None
            raise

    def open_text(self, path: Name, most_bytes: int = MOST_TABLE_BYTES, newline: str | None = None) -> TextIO:
        """The same as UTF-8, with or without a mark of it at the beginning."""
        return io.TextIOWrapper(self.open(path, most_bytes), encoding="utf-8-sig", newline=newline)

    def read_text(self, path: Name, most_bytes: int = MOST_TABLE_BYTES) -> str:
        with self.open_text(path, most_bytes) as file:
            return file.read()


ONLY_THE_SET = Places()
"""Nothing but the data set's own folder."""


def sha256_of(file: BinaryIO) -> str:
    """Of all that is left in a file."""
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def absent(path: Name) -> NotFound:
    return NotFound(f"there is no file {os.fspath(path)!r} that may be read", code="no_such_file")


def is_below(real: str, folder: str) -> bool:
    """Both absolute and without links."""
    return real == folder or real.startswith(f"{folder.rstrip('/')}/")


def open_regular(path: Name, most_bytes: int) -> BinaryIO:
    """As `Places.open`, wherever it lies: for what the operator, or Milo itself, has named."""
    return _open(path, most_bytes, lambda real: True)


def _is_there(path: Name) -> bool:
    try:
        return os.path.exists(path) and not os.path.isdir(path)
    except ValueError:
        return False


def _open(path: Name, most_bytes: int, may_read: Callable[[str], bool]) -> BinaryIO:
    pinned = _pin(path)
    if pinned is None:
        raise absent(path)
    try:
        found = _checked(pinned, may_read)
        if found is None:
            raise absent(path)
        if found.st_size > most_bytes:
            detail = f"{os.fspath(path)!r} has {found.st_size} bytes, and {most_bytes} is the most that is read"
            raise TooLarge(detail, code="file_too_large")
        return os.fdopen(os.open(f"/proc/self/fd/{pinned}", os.O_RDONLY | os.O_CLOEXEC), "rb")
    finally:
        os.close(pinned)


def _look(path: Name, may_read: Callable[[str], bool]) -> os.stat_result | None:
    pinned = _pin(path)
    if pinned is None:
        return None
    try:
        return _checked(pinned, may_read)
    finally:
        os.close(pinned)


def _pin(path: Name) -> int | None:
    try:
        return os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (OSError, ValueError):  # not there, not to be reached, or no path at all
        return None


def _checked(pinned: int, may_read: Callable[[str], bool]) -> os.stat_result | None:
    found = os.fstat(pinned)
    real = os.readlink(f"/proc/self/fd/{pinned}")
    if not stat.S_ISREG(found.st_mode) or _is_of_kernel(found, real) or not may_read(real):
        return None
    return found


def _is_of_kernel(found: os.stat_result, real: str) -> bool:
    return found.st_dev in _kernel_devices() or any(is_below(real, place) for place in _KERNEL)


@lru_cache(maxsize=1)
def _kernel_devices() -> frozenset[int]:
    return frozenset(os.stat(place).st_dev for place in _KERNEL if os.path.isdir(place))


def _local(roots: Sequence[str]) -> tuple[str, ...]:
    return tuple(os.path.realpath(local) for root in roots if "://" not in (local := as_local(root)))


def as_local(path: str) -> str:
    """`file:///a` as `/a`, so that links and dots in it are resolved."""
    scheme, found, rest = path.partition("://")
    return rest if found and scheme.lower() in ("file", "local") else path
