"""The processes of a Milo installation, as data: what each runs, with which environment, and how to see it is ready.

`milo/stack/up.py` starts this list on one machine; `docker-compose.yml` runs the same list, and a test compares the
two.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from milo.jobs import GPU_QUEUES
from milo.settings import Settings

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""For processes that must leave the cores to the engine."""
WORKER_STOP_S = 15
"""Celery gives a slice 5 s to give way (`worker_soft_shutdown_timeout`) and ends; it rarely hangs on the way out."""


@dataclass(frozen=True)
class Service:
    """One process. `command[0]` is the name of a program; who starts it knows where that program is."""

    name: str
    command: tuple[str, ...]
    ready: Callable[[Running], bool]
    """Asked again and again, and answers within a second. Never raises."""
    env: Mapping[str, str] = field(default_factory=dict)
    host: str = "127.0.0.1"
    port: int | None = None
    port_setting: str = ""
    """The variable that moves the port."""
    stop_rank: int = 1
    """Rank 0 is told to stop first; the next rank when all of it has ended."""
    stop_s: float = 10
    """Seconds between SIGTERM and SIGKILL."""
    ready_s: float = 60


@dataclass(frozen=True)
class Running:
    """What a readiness check may look at."""

    settings: Settings
    pid: int
    started_at: float
    """Unix seconds."""


def all_services(settings: Settings, hostname: str | None = None) -> tuple[Service, ...]:
    """Every service, in the order of starting. `hostname` names the worker nodes; default: this machine's."""
    node = hostname or socket.gethostname()
    cpu, archive = str(settings.cpu_concurrency), str(settings.archive_concurrency)
    return (
        _redis(settings),
        _api(settings),
        _status(settings),
        _worker(settings, "gpu", node, ",".join(GPU_QUEUES), "1", {}),
        _worker(settings, "cpu", node, "cpu", cpu, ONE_THREAD),
        # archives are decoded apart: they never delay a single request, a webhook or maintenance
        _worker(settings, "archive", node, "cpu.batch", archive, ONE_THREAD),
        _beat(settings),
        _flower(settings),
    )


def _redis(settings: Settings) -> Service:
    command = (
        *("redis-server", str(settings.home / "secrets" / "redis.conf")),  # its password: no process list shows it
        *("--bind", "127.0.0.1", "--port", str(settings.redis_port)),
        *("--dir", str(settings.home / "redis"), "--save", ""),
        *("--appendonly", "yes", "--appendfsync", "everysec"),  # an acknowledged write survives a kill
        *("--maxmemory-policy", "noeviction"),  # any other may throw a queue away
    )
    return Service(
        "redis", command, redis_answers, port=settings.redis_port, port_setting="MILO_REDIS_PORT", stop_rank=2
    )


def _api(settings: Settings) -> Service:
    command = (
        *("uvicorn", "api.app:app", "--host", settings.host, "--port", str(settings.port)),
        *("--http", "api.http.protocol:BoundedHttp"),  # a head of any size and at any pace else
        *("--no-access-log", "--no-server-header", "--timeout-graceful-shutdown", "5"),
        *("--timeout-keep-alive", "75"),  # longer than clients keep an idle connection, lest one closes as they ask
        # a conversation's frames are small, and audio does not shrink
        *("--ws-max-size", "4194304", "--ws-per-message-deflate", "false"),
        *("--log-level", settings.log_level.lower()),
    )
    return Service(
        "api", command, api_answers, ONE_THREAD, host=settings.host, port=settings.port, port_setting="MILO_PORT"
    )


def _status(settings: Settings) -> Service:
    """What monitors poll: a process of its own, so that it answers whatever the API is busy with."""
    command = (
        *("uvicorn", "api.status.monitor:app", "--host", settings.status_host, "--port", str(settings.status_port)),
        *("--http", "api.http.protocol:BoundedHttp"),
        *("--no-access-log", "--no-server-header", "--timeout-graceful-shutdown", "5"),
        *("--timeout-keep-alive", "75", "--ws", "none"),
        *("--log-level", settings.log_level.lower()),
    )
    return Service(
        *("status", command, _status_answers, ONE_THREAD, settings.status_host, settings.status_port),
        port_setting="MILO_STATUS_PORT",
    )


def _worker(settings: Settings, name: str, node: str, queues: str, concurrency: str, env: Mapping[str, str]) -> Service:
    command = (
        *("celery", "-A", "milo.queue", "worker", "-n", f"{name}@%h", "-Q", queues, "-c", concurrency),
        *(f"--statedb={settings.home / 'run' / name}.state", "--without-gossip", "--without-mingle"),
        *("--loglevel", settings.log_level.upper()),
    )
    own = {
        "MILO_WORKER_NODE": f"{name}@{node}",
        "REMAP_SIGTERM": "SIGQUIT",  # SIGTERM: give way at the next yield point, not at the end of the job
    }
    return Service(name, command, _worker_lives, {**env, **own}, stop_rank=0, stop_s=WORKER_STOP_S, ready_s=120)


def _beat(settings: Settings) -> Service:
    command = ("celery", "-A", "milo.queue", "beat", "--loglevel", settings.log_level.upper())
    return Service("beat", command, _beat_ticks, ONE_THREAD, stop_rank=0, stop_s=5)


def _flower(settings: Settings) -> Service:
    command = (
        *("python", "-m", "milo.stack.flower"),
        *(f"--address={settings.flower_host}", f"--port={settings.flower_port}"),
    )
    return Service(
        *("flower", command, _port_answers, ONE_THREAD, settings.flower_host, settings.flower_port),
        port_setting="MILO_FLOWER_PORT",
        stop_s=3,
    )


# --- is it ready? ---------------------------------------------------------------------------------------------------


def reachable(host: str) -> str:
    """The address to connect to, for a server that listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)


def listens(host: str, port: int) -> bool:
    """Whether something accepts TCP connections there."""
    try:
        with socket.create_connection((reachable(host), port), timeout=0.5):
            return True
    except OSError:
        return False


def redis_answers(running: Running) -> bool:
    import redis

    try:
        with redis.Redis.from_url(running.settings.redis_url, socket_timeout=0.5, socket_connect_timeout=0.5) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def api_answers(running: Running) -> bool:
    # asked many times a second while others start, and a client of httpx reads all CA certificates when it is made
    connection = HTTPConnection(reachable(running.settings.host), running.settings.port, timeout=1)
    try:
        connection.request("GET", "/api/v1/health")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _worker_lives(running: Running) -> bool:
    """Whether this very process (not the one before it) says so in Redis."""
    return running.pid in worker_pids(running.settings)


def worker_pids(settings: Settings) -> dict[int, str]:
    """Process id -> node of every worker that has shown life in the last 20 s. Empty when Redis is away."""
    import redis

    try:
        with redis.Redis.from_url(settings.redis_url, socket_timeout=0.5, socket_connect_timeout=0.5) as client:
            keys = list(client.scan_iter("milo:worker:*"))
            notes = [json.loads(note) for note in client.mget(keys) if note] if keys else []
            return {int(note["pid"]): str(note["node"]) for note in notes}
    except (redis.RedisError, ValueError, KeyError, TypeError):
        return {}


def _beat_ticks(running: Running) -> bool:
    """Beat writes its schedule when it starts to tick."""
    return any(_touched_at(path) >= running.started_at for path in running.settings.home.glob("beat-schedule*"))


def _touched_at(path: Path) -> float:
    try:
        return path.stat().st_mtime + 0.01  # file systems keep time in steps
    except FileNotFoundError:
        return 0


def _port_answers(running: Running) -> bool:
    return listens(running.settings.flower_host, running.settings.flower_port)


def _status_answers(running: Running) -> bool:
    return listens(running.settings.status_host, running.settings.status_port)


def wait_until(check: Callable[[], bool], timeout_s: float, every_s: float = 0.05) -> bool:
    """Ask until it is true or the time is over."""
    end = time.monotonic() + timeout_s
    while not check():
        if time.monotonic() >= end:
            return False
        time.sleep(every_s)
    return True
