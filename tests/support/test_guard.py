"""A test run that is killed leaves no process and no folder of its servers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.guard import VARIABLE, processes_of_run
from tests.support.servers import ROOT, wait_until

HELD = """
import os, socket, time
from contextlib import nullcontext
from tests.support.guard import run_folder
from tests.support.live import live_stack

def test_that_is_killed(redis_url, postgres_url, tmp_path):
    left_out = ["flower", "status", "cpu", "archive", "beat"]
    stack = live_stack(tmp_path, without=left_out) if os.environ["WITH_STACK"] else nullcontext()
    with stack, socket.create_connection(("127.0.0.1", int(os.environ["TELL_PORT"]))) as listener:
        listener.sendall(run_folder().encode())
        listener.close()
        time.sleep(120)
"""


@pytest.mark.parametrize(("number", "workers", "stack"), [(signal.SIGTERM, 1, "milo up"), (signal.SIGKILL, 0, "")])
def test_a_run_that_is_killed_leaves_nothing_behind(number: int, workers: int, stack: str, tmp_path: Path) -> None:
    (tmp_path / "test_held.py").write_text(HELD)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-c", "pyproject.toml", "-n", str(workers)]
    command += ["-p", "no:cacheprovider", "--basetemp", str(tmp_path / "base"), str(tmp_path / "test_held.py")]
    with socket.create_server(("127.0.0.1", 0)) as told:
        env = kept | {"TELL_PORT": str(told.getsockname()[1]), "PYTHONPATH": str(ROOT), "WITH_STACK": stack}
        run = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL)
        try:
            told.settimeout(90)
            with told.accept()[0] as held, held.makefile() as line:  # all servers are up
                folder = line.read()
            assert folder and folder != os.environ[VARIABLE]
            assert len(processes_of_run(folder)) >= (8 if stack else 2), "Redis, PostgreSQL; milo up and its services"
            run.send_signal(number)
            run.wait(30)
            wait_until(lambda: not processes_of_run(folder), "processes are left")
            wait_until(lambda: not Path(folder).exists(), "its folder is left")
        finally:
            run.kill()
            run.wait()
