"""Small disks that fill up."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NO_DISK = "mounting a small disk takes root, and a system that allows it"


@contextmanager
def small_disk(folder: Path, size_mb: int) -> Iterator[bool]:
    """A disk of that size (MiB) at `folder`. Whether this system allows it."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path, leave: int = 0) -> Path:
    """Fill the disk but for so many bytes; the file that does it."""
    filler = disk / "filler"
    try:
        with filler.open("wb") as file:
            while True:
                file.write(bytes(1 << 16))
                file.flush()
    except OSError as error:
        if error.errno != 28:
            raise
    os.truncate(filler, max(0, filler.stat().st_size - leave))
    return filler
