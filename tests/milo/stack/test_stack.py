"""The local stack: starts, says why not, mends what dies, leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import redis
from sqlalchemy import func, insert, select

from milo.errors import Conflict, Invalid, MiloError, Unavailable
from milo.jobs import NewJob
from milo.ledger import Ledger
from milo.ledger.database import reading, writing
from milo.ledger.schema import jobs
from milo.settings import DEVELOPMENT_KEY, Settings
from milo.stack.ports import check_ports, free_port
from milo.stack.redis_server import find_redis_server, warnings_about
from milo.stack.services import Running, Service, all_services, wait_until, worker_pids
from milo.stack.supervisor import HEALTHY_AFTER_S, Supervisor
from milo.stack.up import environment, is_up, note_of, up
from tests.support.live import Live, live_stack, processes_of
from tests.support.servers import redis_server

# --- ports and homes --------------------------------------------------------------------------------------------------


@contextmanager
def taken_port() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def settings_on_free_ports(home: Path, **changes: object) -> Settings:
    ports = {name: free_port() for name in ("port", "redis_port", "flower_port", "status_port")}
    return Settings(_env_file=None, **{"home": home, **ports, **changes})  # type: ignore[arg-type]


def refusal(settings: Settings) -> str:
    """What `up` says when it does not start."""
    with pytest.raises(MiloError) as caught:
        up(settings, lambda name, line: None, on_ready=lambda note: pytest.fail("it started"))
    assert processes_of(settings.home) == []
    return caught.value.detail


@pytest.mark.parametrize(
    ("setting", "service"),
    [("port", "api"), ("redis_port", "redis"), ("flower_port", "flower"), ("status_port", "status")],
)
def test_a_taken_port_is_named_with_its_service_and_setting(setting: str, service: str, tmp_path: Path) -> None:
    with taken_port() as port:
        said = refusal(settings_on_free_ports(tmp_path, **{setting: port}))
    assert f"{service} needs port {port}, which is taken" in said
    assert f"MILO_{setting.upper()}" in said
    assert f"process {os.getpid()}" in said


def test_two_services_on_one_port_are_refused(tmp_path: Path) -> None:
    port = free_port()
    said = refusal(settings_on_free_ports(tmp_path, port=port, flower_port=port))
    assert f"Port {port} is wanted by api and by flower" in said


@pytest.mark.parametrize("host", ["203.0.113.7", "no such host"])
def test_a_host_that_is_not_this_machine_is_refused(host: str, tmp_path: Path) -> None:
    assert "host" in refusal(settings_on_free_ports(tmp_path, host=host))


@pytest.mark.parametrize("port", [0, 70_000])
def test_a_port_that_can_not_be_is_refused(port: int, tmp_path: Path) -> None:
    assert "ports go from 1 to 65535" in refusal(settings_on_free_ports(tmp_path, port=port))


def test_free_ports_pass(tmp_path: Path) -> None:
    check_ports(all_services(settings_on_free_ports(tmp_path)))


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("")
    assert str(home) in refusal(settings_on_free_ports(home))


def test_production_with_the_key_that_everybody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="MILO_API_KEY"):
        up(settings_on_free_ports(tmp_path, env="production", api_key=DEVELOPMENT_KEY), lambda name, line: None)


def test_a_redis_that_does_not_answer_is_refused(tmp_path: Path) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    assert "MILO_REDIS_URL does not answer" in refusal(settings_on_free_ports(tmp_path, redis_url=url))


def test_a_redis_that_forgets_or_evicts_is_warned_about() -> None:
    with redis_server("--maxmemory-policy", "allkeys-lru") as url:
        warnings = warnings_about(Settings(redis_url=url, _env_file=None))
    assert len(warnings) == 2 and "appendonly" in warnings[0] and "allkeys-lru" in warnings[1]
    with redis_server("--appendonly", "yes") as url:
        assert warnings_about(Settings(redis_url=url, _env_file=None)) == []


def test_without_any_redis_the_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(Unavailable, match="apt install redis-server"):
        find_redis_server()


def test_the_children_get_every_setting_that_was_set(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, audio_roots=["/a", "/b"], port=81, offline=True, _env_file=None)  # type: ignore[call-arg]
    given = environment(settings)
    assert given == {"MILO_HOME": str(tmp_path), "MILO_AUDIO_ROOTS": "/a,/b", "MILO_PORT": "81", "MILO_OFFLINE": "True"}


# --- the supervisor, with small services ------------------------------------------------------------------------------

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(99)"
)
PATIENT = "import time; print('here', flush=True); time.sleep(99)"
BROKEN = "print('first line'); print('no such thing: flux'); raise SystemExit(3)"


def answers(running: Running) -> bool:
    return True


class Stage:
    """A supervisor over scripts, and what it said."""

    def __init__(self, folder: Path, scripts: Mapping[str, str], **changes: object) -> None:
        self.said: list[tuple[str, str]] = []
        self.stop = threading.Event()
        for name, script in scripts.items():
            (folder / f"{name}_script.py").write_text(script)
        services = [Service(name, (f"{name}_script",), answers, **changes) for name in scripts]  # type: ignore[arg-type]
        env = {**os.environ, "PYTHONPATH": str(folder)}
        settings = Settings(home=folder / "home", _env_file=None)  # type: ignore[call-arg]
        self.supervisor = Supervisor(services, settings, env, lambda *said: self.said.append(said), self.stop)
        self.names = list(scripts)

    def hears(self, name: str, text: str) -> bool:
        return wait_until(lambda: any(n == name and text in line for n, line in list(self.said)), 20)

    def pid(self, name: str) -> int:
        process = next(c for c in self.supervisor.children if c.service.name == name).process
        assert process
        return process.pid


def test_a_service_that_dies_is_started_again_and_says_so(tmp_path: Path) -> None:
    stage = Stage(tmp_path, {"one": PATIENT, "two": PATIENT})
    stage.supervisor.start(stage.names)
    first, other = stage.pid("one"), stage.pid("two")
    watcher = threading.Thread(target=stage.supervisor.watch)
    watcher.start()
    os.kill(first, signal.SIGKILL)
    assert stage.hears("one", "was killed by SIGKILL; starts again in 1 s")
    assert stage.hears("one", "is back")
    assert stage.pid("one") != first and stage.pid("two") == other
    stage.stop.set()
    watcher.join()
    stage.supervisor.stop(threading.Event())
    assert not psutil.pid_exists(stage.pid("one")) and not psutil.pid_exists(other)
    assert "was killed by SIGKILL" in (tmp_path / "home" / "logs" / "one.log").read_text()


def test_the_pause_doubles_while_a_service_keeps_dying(tmp_path: Path) -> None:
    stage = Stage(tmp_path, {"one": PATIENT})
    stage.supervisor.start(stage.names)
    child = stage.supervisor.children[0]
    waits = []
    for _ in range(7):
        os.kill(stage.pid("one"), signal.SIGKILL)
        assert child.process and child.process.wait() == -signal.SIGKILL
        stage.supervisor._mend(child)
        assert child.restart_at is not None
        waits.append(round(child.restart_at - time.monotonic()))
        child.start()
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    stage.supervisor.stop(threading.Event())


def test_a_service_that_fails_at_the_start_is_named_with_its_last_lines(tmp_path: Path) -> None:
    stage = Stage(tmp_path, {"one": BROKEN}, ready_s=20)
    object.__setattr__(stage.supervisor.children[0].service, "ready", lambda running: False)
    with pytest.raises(Unavailable, match=r"one ended with exit code 3 before it was ready(.|\n)*flux"):
        stage.supervisor.start(stage.names)


def test_a_service_that_is_never_ready_is_named(tmp_path: Path) -> None:
    stage = Stage(tmp_path, {"one": PATIENT}, ready_s=0.5)
    object.__setattr__(stage.supervisor.children[0].service, "ready", lambda running: False)
    with pytest.raises(Unavailable, match="one was not ready"):
        stage.supervisor.start(stage.names)
    stage.supervisor.stop(threading.Event())


def test_what_was_healthy_comes_back_at_once_and_what_dies_at_its_start_backs_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path, {"one": PATIENT, "two": BROKEN})
    healthy, dying = stage.supervisor.children
    for child in (healthy, dying):
        child.start()
    monkeypatch.setattr("milo.stack.supervisor.BACKOFF_S", (0.0, 1000.0))
    healthy.is_ready = True
    for _ in range(3):
        healthy.born -= HEALTHY_AFTER_S + 1
        assert healthy.process
        healthy.process.kill()
        healthy.process.wait()
        stage.supervisor._mend(healthy)  # sees that it died
        stage.supervisor._mend(healthy)  # starts it
        assert healthy.restart_at is None and healthy.ended() is None
        healthy.is_ready = True
    monkeypatch.setattr("milo.stack.supervisor.READY_BACKOFF_S", 0.0)
    for _ in range(3):  # killed as soon as it was ready
        assert healthy.process
        healthy.process.kill()
        healthy.process.wait()
        stage.supervisor._mend(healthy)
        stage.supervisor._mend(healthy)
        assert healthy.restart_at is None and healthy.ended() is None
        healthy.is_ready = True
    for _ in range(2):
        assert dying.process
        dying.process.wait()
        stage.supervisor._mend(dying)
        restart_at = dying.restart_at
        stage.supervisor._mend(dying)
    assert restart_at is not None and dying.restart_at == restart_at, "it was started again without a pause"
    stage.stop.set()
    stage.supervisor.stop(threading.Event())


def test_what_does_not_end_is_killed(tmp_path: Path) -> None:
    stage = Stage(tmp_path, {"one": STUBBORN}, stop_s=0.3)
    stage.supervisor.start(stage.names)
    assert stage.hears("one", "deaf")
    stage.supervisor.stop(threading.Event())
    assert not psutil.pid_exists(stage.pid("one"))
    assert stage.hears("one", "did not end in time")


def test_a_second_signal_ends_all_at_once(tmp_path: Path) -> None:
    stage = Stage(tmp_path, {"one": STUBBORN}, stop_s=1000)
    stage.supervisor.start(stage.names)
    assert stage.hears("one", "deaf")
    hurry = threading.Event()
    hurry.set()
    stage.supervisor.stop(hurry)
    assert not psutil.pid_exists(stage.pid("one"))


def test_a_line_without_end_and_bytes_that_are_no_text_are_copied(tmp_path: Path) -> None:
    script = f"import sys; sys.stdout.buffer.write(b'x' * 100_000 + bytes([255, 10])); sys.stdout.flush(); {PATIENT}"
    stage = Stage(tmp_path, {"one": script})
    stage.supervisor.start(stage.names)
    assert stage.hears("one", "here")
    stage.supervisor.stop(threading.Event())


# --- the real thing ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live_stack(tmp_path_factory.mktemp("stack"), without=()) as stack:
        yield stack


def redis_url(live: Live) -> str:
    note = note_of(live.settings)
    assert note
    return str(note["redis_url"])


def pid_of(live: Live, node: str) -> int | None:
    pids = worker_pids(live.settings.model_copy(update={"redis_url": redis_url(live)}))
    return next((pid for pid, name in pids.items() if name.startswith(f"{node}@")), None)


def milo(live: Live, *words: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "milo.cli", *words]
    return subprocess.run(command, env=live.env, capture_output=True, text=True, timeout=timeout_s)


def test_the_stack_shows_where_it_listens(live: Live) -> None:
    note = note_of(live.settings)
    assert note and note["url"] == live.url and is_up(live.settings)
    assert note["services"] == ["redis", "api", "status", "gpu", "cpu", "archive", "beat", "flower"]
    client = redis.Redis.from_url(redis_url(live), decode_responses=True)
    wanted = {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction", "bind": "127.0.0.1"}
    assert {name: client.config_get(name)[name] for name in wanted} == wanted


def test_a_second_stack_on_the_same_home_is_refused(live: Live) -> None:
    with pytest.raises(Conflict, match="already up") as caught:
        up(settings_on_free_ports(live.settings.home), lambda name, line: None)
    assert live.url in caught.value.detail


def test_a_killed_worker_comes_back_and_works(live: Live) -> None:
    before = pid_of(live, "gpu")
    assert before
    os.kill(before, signal.SIGKILL)
    assert wait_until(lambda: pid_of(live, "gpu") not in (None, before), 60)
    found = json.loads(milo(live, "doctor", "--json").stdout)
    assert [one["state"] for one in found if one["check"] == "queue"] == ["ok"]


def test_a_killed_redis_comes_back_with_what_it_held(live: Live) -> None:
    url = redis_url(live)
    client = redis.Redis.from_url(url, retry_on_timeout=True)
    client.set("kept", "yes")
    assert wait_until(lambda: client.info("persistence")["aof_pending_bio_fsync"] == 0, 10)
    server = int(client.info("server")["process_id"])
    os.kill(server, signal.SIGKILL)

    def is_back() -> bool:
        try:
            return int(client.info("server")["process_id"]) != server
        except (redis.ConnectionError, redis.BusyLoadingError):
            return False

    assert wait_until(is_back, 60)
    assert client.get("kept") == b"yes"


def test_a_key_with_few_jobs_does_not_wait_for_one_with_many(live: Live) -> None:
    ledger = Ledger.open(live.settings)
    ledger.clock = lambda: time.time() - 60  # and no message: the reconciler finds them
    new = NewJob(kind="ping", payload={"seconds": 0}, owner="ana", priority="background")
    with writing(ledger.engine) as tx:
        tx.execute(insert(jobs), [ledger._row(new) for _ in range(300)])
        tx.execute(insert(jobs), [ledger._row(new.model_copy(update={"owner": "bema"})) for _ in range(5)])
    waiting = select(func.count()).where(jobs.c.queue == "gpu.background", jobs.c.state.in_(("queued", "running")))

    def ended() -> bool:
        with reading(ledger.engine) as connection:
            return connection.execute(waiting).scalar_one() == 0

    assert wait_until(ended, 60)
    with reading(ledger.engine) as connection:
        mine = select(jobs.c.owner).where(jobs.c.queue == "gpu.background").order_by(jobs.c.finished_at)
        owners = list(connection.execute(mine).scalars())
    ledger.engine.dispose()
    assert len(owners) == 305 and owners[:12].count("bema") == 5


def start_stack(tmp_path: Path, *words: str) -> tuple[subprocess.Popen[str], Path]:
    """A stack in the background, ready."""
    home = tmp_path / "home"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MILO_")}
    ports = {f"MILO_{name}PORT": str(free_port()) for name in ("", "REDIS_", "FLOWER_", "STATUS_")}
    command = [sys.executable, "-m", "milo.cli", "up", "--json", *words]
    process = subprocess.Popen(
        command,
        env={**kept, **ports, "MILO_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout and json.loads(process.stdout.readline())["pid"] == process.pid
    return process, home


def gone(home: Path) -> Callable[[], bool]:
    return lambda: processes_of(home) == []


@pytest.mark.parametrize(
    ("number", "code", "left_out", "count"),
    [
        (signal.SIGTERM, 0, "archive,cpu,flower,status", 6),  # the stack, redis, api, gpu and its child, beat
        (signal.SIGKILL, -9, "archive,cpu,flower,status", 6),
        (signal.SIGINT, 0, "archive,cpu,flower,status,gpu,beat", 3),  # told on as SIGTERM, as the first row shows
    ],
)
def test_nothing_is_left_after(number: signal.Signals, code: int, left_out: str, count: int, tmp_path: Path) -> None:
    process, home = start_stack(tmp_path, "--without", left_out)
    assert len(processes_of(home)) >= count
    process.send_signal(number)
    assert process.wait(60) == code
    assert wait_until(gone(home), 30), [p.cmdline() for p in processes_of(home)]
    if process.stdout:
        process.stdout.close()
