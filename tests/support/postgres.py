"""A PostgreSQL server of the tests' own, from Debian's packages. `None` where there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.guard import run_folder


def _binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


@contextmanager
def postgres() -> Iterator[str | None]:
    """The URL of an empty database that listens on a Unix socket only; the server ends with the block."""
    if url := os.environ.get("MILO_TEST_DATABASE_URL"):
        yield url
        return
    binaries = _binaries()
    if binaries is None:
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir=run_folder() or "/tmp"))
    user: dict[str, object] = {}
    if os.geteuid() == 0:  # the server refuses to run as root
        shutil.chown(folder, "postgres", "postgres")
        user = {"user": "postgres", "group": "postgres"}
    data = folder / "data"
    quiet: dict[str, object] = {"stdout": subprocess.DEVNULL, "cwd": "/tmp", **user}
    init = [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8", "--no-locale"]
    control = [binaries / "pg_ctl", "-D", data, "-w"]
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off -c max_connections=200"
    try:
        subprocess.run(init, check=True, **quiet)  # type: ignore[call-overload]
        start = [*control, "start", "-l", folder / "log", "-o", options]
        subprocess.run(start, check=True, **quiet)  # type: ignore[call-overload]
        try:
            yield f"postgresql+psycopg://postgres@/postgres?host={folder}"
        finally:
            subprocess.run([*control, "stop", "-m", "immediate"], check=True, **quiet)  # type: ignore[call-overload]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
