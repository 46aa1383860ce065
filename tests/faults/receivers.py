"""Receivers of webhooks that misbehave, each in its own way, beside one that does not."""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.faults.field import Field, stack, waiting
from tests.faults.table import Row
from tests.faults.work import Load, account

TIMEOUT_S = 3.0
HEAD = b"HTTP/1.1 %s\r\ncontent-length: 0\r\n%s\r\n"


def _says(status: bytes, more: bytes = b"", after_s: float = 0.0) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        time.sleep(after_s)
        connection.sendall(HEAD % (status, more))

    return answer


def _hangs(connection: socket.socket) -> None:
    connection.recv(65536)
    while connection.recv(65536):  # until the sender gives up
        pass


def _resets(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _floods(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 10485760\r\n\r\n")
    for _ in range(160):
        connection.sendall(bytes(65536))


WAYS: dict[str, tuple[Callable[[socket.socket], None], str, str]] = {
    "slow": (_says(b"200 OK", after_s=TIMEOUT_S / 3), "delivered", ""),
    "500": (_says(b"500 Oops"), "pending", "answered 500"),
    "301": (_says(b"301 Moved", b"location: http://127.0.0.1:1/\r\n"), "pending", "redirects are not followed"),
    "410": (_says(b"410 Gone"), "failed", "answered 410"),
    "hangs": (_hangs, "pending", "no answer within"),
    "closes": (lambda connection: None, "pending", "Error"),
    "resets": (_resets, "pending", "Error"),
    "sends 10 MB": (_floods, "delivered", ""),
}
"""What it does, the state its webhook has then, and what the delivery log says."""
PRIVATE = ("http://10.0.0.1/", "http://169.254.169.254/latest/meta-data", "http://[::1]/", "http://127.0.0.2/")


class Bad:
    """A TCP server that does one thing to every connection."""

    def __init__(self, way: Callable[[socket.socket], None]) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}/hook"
        self._way = way
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            self._way(connection)

    def close(self) -> None:
        self._server.close()


def receivers(folder: Path, scale: float, rng: random.Random) -> list[Row]:
    """One row for each way; the good receiver gets all of its own meanwhile."""
    with stack(folder, ("flower", "archive"), webhook_timeout_s=TIMEOUT_S) as field:
        servers = {name: Bad(way) for name, (way, _, _) in WAYS.items()}
        good = Load(field, max(12, round(60 * scale)), rng, "good", ("ping", "tts"))
        posted = {
            name: [_submit(field, server.url, f"{name} {n}") for n in range(max(1, round(10 * scale)))]
            for name, server in servers.items()
        }
        good.start()
        beside = Row("webhooks beside bad receivers", faults=sum(map(len, posted.values())))
        account(field, good.finish(), beside, 60)
        rows = [_logged(field, name, ids) for name, ids in posted.items()]
        for server in servers.values():
            server.close()
        return [*rows, beside, _private(field)]


def _submit(field: Field, url: str, key: str) -> str:
    return str(field.post("/jobs", {"kind": "ping", "callback_url": url}, key)["id"])


def _log(field: Field, job_id: str) -> list[dict[str, Any]]:
    """The webhooks of the job, once each has been tried; empty if that never happens."""
    found: list[dict[str, Any]] = []

    def untried() -> list[str]:
        found[:] = field.client.get(f"/jobs/{job_id}/webhooks").json()["items"]
        return [] if found and all(one["tries"] for one in found) else [job_id]

    return [] if waiting(untried, 60) else found


def _logged(field: Field, name: str, ids: list[str]) -> Row:
    _, state, says = WAYS[name]
    row = Row(f"webhook receiver: {name}", jobs=len(ids), faults=len(ids))
    for job_id in ids:
        log = _log(field, job_id)
        row.lost += not log
        for one in log:
            told = str(one["tries"][0]["error"] or "")
            row.expect(one["state"] == state and says in told, f"{job_id} is {one['state']}: {told}")
    return row


def _private(field: Field) -> Row:
    """Addresses that are private are refused when the job is submitted; names that mean one, when they are resolved."""
    row = Row("webhook to a private address", faults=len(PRIVATE))
    for url in PRIVATE:
        answer = field.client.post("/jobs", json={"kind": "ping", "callback_url": url})
        row.expect(answer.status_code == 422, f"{url} was answered {answer.status_code}")
    name = _private_name()
    if name:
        job_id = _submit(field, f"http://{name}:9/", "private name")
        row.jobs, row.faults = 1, row.faults + 1
        for one in _log(field, job_id):
            told = str(one["tries"][0]["error"])
            row.expect(one["state"] == "failed" and "MILO_WEBHOOK_ALLOW" in told, f"{name} is {one['state']}: {told}")
    return row


def _private_name() -> str | None:
    """A name of this machine that means an address which the stack does not allow."""
    for name in ("localhost", "ip6-localhost", socket.gethostname()):
        with suppress(OSError):
            if {entry[4][0] for entry in socket.getaddrinfo(name, 9)} - {"127.0.0.1"}:
                return name
    return None
