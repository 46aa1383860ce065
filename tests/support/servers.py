"""Real servers for tests: each on a free port, ended with its block."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import redis
import uvicorn
from httpx._transports import default as _transports

from milo.settings import Settings
from milo.stack.ports import free_port
from milo.stack.redis_server import find_redis_server
from tests.support.guard import run_folder

ROOT = Path(__file__).parents[2]
STREAMS_END_S = 1.0
"""How long a server in a thread waits for answers that it has begun."""
# a client of httpx reads all CA certificates when it is made, which takes longer than the request of most tests
_transports.create_ssl_context = cache(_transports.create_ssl_context)


@contextmanager
def redis_server(*options: str) -> Iterator[str]:
    """The URL of an empty Redis of the test's own."""
    folder = tempfile.mkdtemp(prefix="redis-", dir=run_folder())
    port = free_port()
    command = [find_redis_server(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder, *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    url = f"redis://127.0.0.1:{port}/0"
    try:
        _await_redis(url)
        yield url
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _await_redis(url: str) -> None:
    client = redis.Redis.from_url(url)
    deadline = time.monotonic() + 20
    while True:
        try:
            client.ping()
            return
        except redis.ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


class _Server(uvicorn.Server):
    """Uvicorn's own looks ten times a second whether it shall end and whether its connections have; tests end many."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._told = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def end(self) -> None:
        self.should_exit = True
        if self._loop:
            self._loop.call_soon_threadsafe(self._told.set)

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        if self.should_exit:
            return
        while not self._told.is_set():
            await self.on_tick(0)  # the time in the answers' heads
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._told.wait(), 1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        ending = time.monotonic() + STREAMS_END_S
        while self.server_state.connections or self.server_state.tasks:
            await asyncio.sleep(0.005)
            if time.monotonic() > ending:  # streams of events have no end of their own
                for connection in list(self.server_state.connections):
                    connection.transport.abort()
                for task in list(self.server_state.tasks):
                    task.cancel()
        await self.lifespan.shutdown()


@contextmanager
def api_in_thread(settings: Settings) -> Iterator[str]:
    """The real API on a free port, in a thread of this process. Yields its URL."""
    from api.app import create_app

    port = free_port()
    app, bounded = create_app(settings), "api.http.protocol:BoundedHttp"
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", lifespan="on", http=bounded)
    server = _Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started or not thread.is_alive(), "the API did not start")
    assert thread.is_alive(), "the API ended at its start"
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.end()
        thread.join(20)


def environment(settings: Settings, **more: str) -> dict[str, str]:
    """The environment of a process that shall have these settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MILO_")}
    changed = settings.model_dump(mode="json", exclude_defaults=True)
    lists = {name: ",".join(value) if isinstance(value, list) else str(value) for name, value in changed.items()}
    return kept | {f"MILO_{name.upper()}": value for name, value in lists.items()} | {"OMP_NUM_THREADS": "1"} | more


@contextmanager
def api_process(settings: Settings, **more: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The real API in a process of its own, as `milo up` starts it. Yields its URL and the process."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "api.app:app", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--http", "api.http.protocol:BoundedHttp"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment(settings, **more))
    try:
        wait_until(lambda: _listens(port) or process.poll() is not None, "the API did not start")
        assert process.poll() is None, "the API ended at its start"
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def celery_worker(
    settings: Settings, queues: str, *options: str, log: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A real worker process on these queues, ready to take tasks. `log` gets what it says, if it is given."""
    node = f"test-{os.getpid()}-{time.monotonic_ns()}"
    command = [sys.executable, "-m", "celery", "-A", "milo.queue", "worker", "-Q", queues, "-c", "1"]
    command += ["-n", f"{node}@%h", "--without-gossip", "--without-mingle", "--loglevel", "WARNING", *options]
    env = environment(settings, MILO_WORKER_NODE=node, REMAP_SIGTERM="SIGQUIT")
    with open(log or os.devnull, "wb") as file:
        said = {"stdout": file, "stderr": file} if log else {}
        process = subprocess.Popen(command, cwd=ROOT, env=env, **said)
    client = redis.Redis.from_url(settings.redis_url)
    try:
        wait_until(lambda: bool(client.exists(f"milo:worker:{node}")) or process.poll() is not None, "no worker", 60)
        assert process.poll() is None, "the worker ended at its start"
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(check: Callable[[], bool], complaint: str, timeout_s: float = 30) -> None:
    """Ask until it is true; fail with the complaint when it never is."""
    deadline = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < deadline, complaint
        time.sleep(0.02)
