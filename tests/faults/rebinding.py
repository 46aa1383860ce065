"""DNS rebinding: a name that means a public address when it is checked, and this machine when it is asked again.

With the system's own resolver and a small name server, in a network and a mount namespace of their own, where a public
address is one of this machine's.
"""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from tests.faults.receiver import Receiver
from tests.faults.table import Row
from tests.support.servers import ROOT

PUBLIC, PRIVATE = "1.2.3.4", "127.0.0.1"
DNS_PORT = 53
PREPARE = 'ip link set lo up && ip addr add %s/32 dev lo && mount --bind "$1" /etc/resolv.conf && shift && exec "$@"'
NAMES: dict[str, Sequence[Sequence[str]]] = {
    "rebound.example": ((PUBLIC,), (PRIVATE,)),
    "both.example": ((PUBLIC, PRIVATE),),
    "other.example": ((PRIVATE, PUBLIC),),
}
"""Name -> the addresses it has at the first question, the second and so on; the last answer stays."""


def rebinding(folder: Path, scale: float, rng: random.Random) -> list[Row]:
    """The webhook goes to the address that was checked, or nowhere."""
    row = Row("DNS rebinding of a webhook's receiver")
    resolv = folder / "resolv.conf"
    resolv.write_text(f"nameserver {PRIVATE}\noptions attempts:1 timeout:2\n")
    words = ["unshare", "--net", "--mount", "sh", "-c", PREPARE % PUBLIC, "sh", str(resolv)]
    if os.geteuid() != 0 or subprocess.run([*words, "true"], capture_output=True).returncode != 0:
        row.skipped = "a network of one's own takes root, `unshare` and `ip`, and a system that allows it"
        return [row]
    for number in range(max(1, round(5 * scale))):
        inside = [sys.executable, "-m", "tests.faults.rebinding", str(folder / f"home-{number}")]
        done = subprocess.run([*words, *inside], cwd=ROOT, capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            row.complaints.append(f"it broke off: {done.stderr[-300:]}")
            continue
        told = json.loads(done.stdout.splitlines()[-1])
        row.jobs += told["jobs"]
        row.faults += told["faults"]
        row.complaints += told["complaints"]
    return [row]


# --- inside -----------------------------------------------------------------------------------------------------------


class NameServer:
    """Answers for `NAMES` over UDP, and for nothing else. `asked` counts the questions for IPv4 addresses."""

    def __init__(self) -> None:
        self.asked: dict[str, int] = dict.fromkeys(NAMES, 0)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((PRIVATE, DNS_PORT))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            question, asker = self._socket.recvfrom(512)
            self._socket.sendto(self._answer(question), asker)

    def _answer(self, question: bytes) -> bytes:
        """RFC 1035: the question again, then an A record with TTL 0 for each address."""
        labels, at = [], 12
        while length := question[at]:
            labels.append(question[at + 1 : at + 1 + length].decode())
            at += 1 + length
        name, kind = ".".join(labels), int.from_bytes(question[at + 1 : at + 3], "big")
        addresses: Sequence[str] = ()
        if kind == 1 and name in NAMES:
            addresses = NAMES[name][min(self.asked[name], len(NAMES[name]) - 1)]
            self.asked[name] += 1
        counts = b"\x00\x01" + len(addresses).to_bytes(2, "big") + bytes(4)
        records = b"".join(
            b"\xc0\x0c\x00\x01\x00\x01" + bytes(4) + b"\x00\x04" + socket.inet_aton(a) for a in addresses
        )
        return question[:2] + b"\x81\x80" + counts + question[12 : at + 5] + records


def main() -> None:
    """`python -m tests.faults.rebinding HOME`, in namespaces of its own: prints what happened as one line of JSON."""
    import asyncio

    from milo.jobs import NewJob
    from milo.ledger import Ledger, outbox
    from milo.settings import Settings
    from milo.webhooks import delivery

    settings = Settings(home=Path(sys.argv[1]), webhook_timeout_s=3, _env_file=None)
    server, mine = NameServer(), Receiver(PRIVATE)
    public = Receiver(PUBLIC, mine.port)
    ledger = Ledger.open(settings)
    row = Row("")

    def send(name: str) -> tuple[str, str]:
        """Finish a job that calls the name; id and webhook's state and reason."""
        url = f"http://{name}:{mine.port}/hook"
        new = NewJob(kind="ping", payload={"seconds": 0}, owner="operator", priority="batch", callback_url=url)
        claim = ledger.claim(ledger.create(new).id, "w")
        assert claim
        job = ledger.finish(claim, {"pong": True})
        row.jobs += 1
        asyncio.run(delivery.deliver_due(settings, ledger.engine))
        (entry,) = outbox.log_of(ledger.engine, job_id=job.id)
        return job.id, f"{entry['state']}: {entry['tries'][0]['error']}"

    first, said = send("rebound.example")
    row.faults += 1
    row.expect(said.startswith("delivered") and first in public.ids, f"what was checked was not called: {said}")
    row.expect(server.asked["rebound.example"] == 1, f"the name was asked for {server.asked['rebound.example']} times")
    (entry,) = outbox.log_of(ledger.engine, job_id=first)
    outbox.replay(ledger.engine, entry["id"], time.time())
    asyncio.run(delivery.deliver_due(settings, ledger.engine))
    (entry,) = outbox.log_of(ledger.engine, job_id=first)
    told = str(entry["tries"][-1]["error"])
    row.expect("MILO_WEBHOOK_ALLOW" in told, f"the second try was not refused: {entry['state']}: {told}")
    for name in ("both.example", "other.example"):
        _, said = send(name)
        row.faults += 1
        row.expect(said.startswith("failed") and "MILO_WEBHOOK_ALLOW" in said, f"{name} was not refused: {said}")
    row.expect(not mine.ids, "the private receiver was called")
    sys.stdout.write(json.dumps({"jobs": row.jobs, "faults": row.faults, "complaints": row.complaints}) + "\n")


if __name__ == "__main__":
    main()
