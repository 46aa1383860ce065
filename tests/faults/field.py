"""A stack under fire: `milo up` as a person starts it, its processes to aim at, a client that never gives up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import redis

from milo.errors import MiloError
from milo.ledger import Ledger
from milo.settings import Settings
from milo.stack.ports import free_port
from milo.stack.redis_server import prepare
from tests.faults.receiver import Receiver
from tests.support.servers import ROOT, environment, wait_until

KEY = "a-key-for-the-faults"
START_S = 120
_WORDS = {"gpu": "gpu@%h", "cpu": "cpu@%h", "archive": "archive@%h", "beat": "beat", "api": "api.app:app"}


class Field:
    """One stack on ports and in a home of its own."""

    def __init__(self, home: Path, receiver: Receiver, without: Sequence[str], env: Mapping[str, str], **values: Any):
        ports = {name: free_port() for name in ("port", "redis_port", "flower_port", "status_port")}
        self.own_redis = "redis_url" not in values
        url = f"redis://127.0.0.1:{ports['redis_port']}/0"
        fixed = {"home": home, "api_key": KEY, "webhook_allow": ["127.0.0.1"], "redis_url": url}
        self.settings = Settings(_env_file=None, **{**fixed, **ports, **values})  # type: ignore[arg-type]
        if self.own_redis:  # the stack's Redis asks for the password that is made here
            self.settings = self.settings.model_copy(update={"redis_url": prepare(self.settings)})
        self.receiver = receiver
        self.url = f"http://127.0.0.1:{ports['port']}/api/v1"
        self.client = httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=20, trust_env=False
        )
        self._without = without
        self.process: subprocess.Popen[str] | None = None
        self._env = env

    def start(self) -> None:
        """Start the stack and wait until all of it answers."""
        env = environment(self.settings, **self._env)
        if self.own_redis:
            del env["MILO_REDIS_URL"]
        command = [sys.executable, "-m", "milo.cli", "up", "--json", "--quiet", "--without", ",".join(self._without)]
        options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "text": True, "start_new_session": True}
        self.process = subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.PIPE, **options)
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line and json.loads(line)["pid"] == self.process.pid, "the stack did not start"

    def stop(self) -> None:
        """SIGTERM, as a deploy does."""
        if self.process:
            self.process.terminate()
            self.process.wait(90)
            if self.process.stdout:
                self.process.stdout.close()

    def bury(self) -> None:
        """After the supervisor was killed: wait until nothing of it is left."""
        assert self.process
        self.process.wait()
        wait_until(lambda: not self.everything(), "processes of a killed stack are left", 60)

    # --- processes ----------------------------------------------------------------------------------------------------

    def everything(self) -> list[psutil.Process]:
        """Each process whose environment names this home."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("MILO_HOME") == str(self.settings.home) and process.status() != "zombie":
                    found.append(process)
        return found

    def pid(self, service: str) -> int | None:
        """The process of a service; None while it is away."""
        assert self.process
        if service == "supervisor":
            return self.process.pid if self.process.poll() is None else None
        if service == "gpu child":
            return self._child_of(self.pid("gpu"))
        with suppress(psutil.Error):
            for process in psutil.Process(self.process.pid).children():
                with suppress(psutil.Error):
                    line = process.cmdline()
                    if (service == "redis" and "redis-server" in line[0]) or _WORDS.get(service) in line:
                        return process.pid
        return None

    def _child_of(self, pid: int | None) -> int | None:
        with suppress(psutil.Error):
            for process in psutil.Process(pid).children() if pid else ():
                if "spawn_main" in " ".join(process.cmdline()):
                    return process.pid
        return None

    def signal(self, service: str, number: signal.Signals) -> int:
        """Send it to the service once there is one to hit; its process id."""
        found: list[int] = []

        def sent() -> bool:
            pid = self.pid(service)
            with suppress(ProcessLookupError):
                if pid:
                    os.kill(pid, number)
                    found.append(pid)
            return bool(found)

        wait_until(sent, f"there is no {service} to hit", START_S)
        return found[0]

    def kill(self, service: str) -> int:
        return self.signal(service, signal.SIGKILL)

    @contextmanager
    def frozen(self, service: str) -> Iterator[int]:
        """The service hangs (SIGSTOP) for as long as the block runs."""
        pid = self.signal(service, signal.SIGSTOP)
        try:
            yield pid
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    # --- asking -------------------------------------------------------------------------------------------------------

    def post(self, path: str, body: dict[str, Any], key: str, patience_s: float = START_S) -> dict[str, Any]:
        """Submit until it is acknowledged, always under the same Idempotency-Key, as a careful client does."""
        until = time.monotonic() + patience_s
        while True:
            with suppress(httpx.TransportError):
                answer = self.client.post(path, json=body, headers={"Idempotency-Key": key, "Prefer": "respond-async"})
                if answer.status_code < 300:
                    document: dict[str, Any] = answer.json()
                    return document
                assert answer.status_code in (409, 429, 503), answer.text
            assert time.monotonic() < until, f"{path} was not accepted in {patience_s:.0f} s"
            time.sleep(0.2)

    def put_blob(self, path: Path) -> str:
        answer = self.client.post("/blobs", content=path.read_bytes())
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def probe(self, key: str, patience_s: float = START_S, told: bool = False) -> None:
        """Until a job that does nothing went all the way, ahead of the others; `told`: and its webhook arrived, which
        needs the CPU worker."""
        until = time.monotonic() + patience_s
        body = {"kind": "ping", "priority": "realtime"} | ({"callback_url": self.receiver.url} if told else {})
        job_id = self.post("/jobs", body, key)["id"]
        self.wait_final([job_id], until - time.monotonic())
        if told:
            waiting(lambda: [] if self.receiver.ids.get(job_id) else [job_id], until - time.monotonic())

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """The rows themselves, whatever the API is doing."""
        opened = Ledger.open(self.settings)
        try:
            yield opened
        finally:
            opened.engine.dispose()

    def redis(self) -> redis.Redis:
        return redis.Redis.from_url(self.settings.redis_url, socket_timeout=5)

    def wait_final(self, job_ids: Sequence[str], timeout_s: float) -> list[str]:
        """Ids that have not ended after all that time."""
        with self.ledger() as ledger:
            return waiting(lambda: [one for one in job_ids if not ledger.get(one).final], timeout_s)


def waiting(left: Callable[[], list[str]], timeout_s: float) -> list[str]:
    """Ask until nothing is left or the time is over."""
    until = time.monotonic() + timeout_s
    while True:
        with suppress(MiloError):
            rest = left()
            if not rest or time.monotonic() > until:
                return rest
        time.sleep(0.1)


@contextmanager
def stack(
    folder: Path, without: Sequence[str] = ("flower",), more_env: Mapping[str, str] | None = None, **values: Any
) -> Iterator[Field]:
    """A stack that runs, and a receiver for its webhooks."""
    receiver = Receiver()
    field = Field(folder / "home", receiver, without, more_env or {}, **values)
    try:
        field.start()
        yield field
    finally:
        field.stop()
        field.client.close()
        receiver.close()
