"""Webhooks: signed as the standard says, sent only where they may go, retried, logged."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from milo.errors import Conflict
from milo.jobs import Job, NewJob
from milo.ledger import Ledger, outbox
from milo.ledger.keys import new_webhook_secret
from milo.settings import Settings
from milo.webhooks import delivery, signing, targets


class Receiver:
    """A real HTTP server that answers as it is told and keeps what it got."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answer: Callable[[BaseHTTPRequestHandler], None] = lambda handler: _reply(handler, 200)
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
                receiver.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def _reply(handler: BaseHTTPRequestHandler, status: int, **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("content-length", "0")
    handler.end_headers()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, webhook_allow=["127.0.0.1"], webhook_timeout_s=1, _env_file=None)


@pytest.fixture
def ledger(settings: Settings, migrated: Path) -> Iterator[Ledger]:
    shutil.copy(migrated, settings.home / "ledger.sqlite3")
    opened = Ledger.open(settings)
    yield opened
    opened.engine.dispose()


def finished_job(ledger: Ledger, url: str) -> Job:
    new = NewJob(kind="ping", payload={"seconds": 0}, owner="operator", priority="batch", callback_url=url)
    claim = ledger.claim(ledger.create(new).id, "w")
    assert claim
    return ledger.finish(claim, {"pong": True})


def send(ledger: Ledger) -> int:
    return asyncio.run(delivery.deliver_due(ledger.settings, ledger.engine))


def make_due(ledger: Ledger) -> None:
    from sqlalchemy import update

    from milo.ledger.database import writing
    from milo.ledger.schema import webhooks as rows

    with writing(ledger.engine) as tx:
        tx.execute(update(rows).values(due_at=0))


def test_a_webhook_carries_the_standard_headers_and_a_signature_that_verifies(
    ledger: Ledger, receiver: Receiver
) -> None:
    job = finished_job(ledger, receiver.url)
    assert send(ledger) == 1
    ((headers, body),) = receiver.got
    data = Webhook(signing.operator_secret(ledger.settings)).verify(body, headers)
    assert data["type"] == "job.succeeded"
    assert data["data"]["id"] == job.id and data["data"]["result_url"] == f"/api/v1/jobs/{job.id}/result"
    with pytest.raises(WebhookVerificationError):
        Webhook(new_webhook_secret()).verify(body, headers)
    (entry,) = outbox.log_of(ledger.engine, job_id=job.id)
    assert entry["state"] == "delivered" and entry["tries"][0]["status"] == 200
    assert send(ledger) == 0


def test_a_failed_try_is_repeated_with_the_same_id_until_the_receiver_takes_it(
    ledger: Ledger, receiver: Receiver
) -> None:
    receiver.answer = lambda handler: _reply(handler, 500)
    job = finished_job(ledger, receiver.url)
    send(ledger)
    assert send(ledger) == 0, "the next try waits for its time"
    make_due(ledger)
    receiver.answer = lambda handler: _reply(handler, 204)
    send(ledger)
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1 and len(receiver.got) == 2
    (entry,) = outbox.log_of(ledger.engine, job_id=job.id)
    assert entry["state"] == "delivered"
    assert [attempt["status"] for attempt in entry["tries"]] == [500, 204]


@pytest.mark.parametrize(
    ("status", "headers", "state", "says"),
    [
        (301, {"location": "http://127.0.0.1:1/"}, "pending", "redirects are not followed"),
        (410, {}, "failed", "410"),
        (503, {"retry_after": "120"}, "pending", "503"),
        (503, {"retry_after": "Mon, 01 Jan 2024 00:00:00 +9999999999999999"}, "pending", "503"),
    ],
)
def test_answers_mean_what_the_standard_says(
    ledger: Ledger, receiver: Receiver, status: int, headers: dict[str, str], state: str, says: str
) -> None:
    receiver.answer = lambda handler: _reply(handler, status, **headers)
    job = finished_job(ledger, receiver.url)
    send(ledger)
    (entry,) = outbox.log_of(ledger.engine, job_id=job.id)
    assert entry["state"] == state and says in entry["tries"][0]["error"]
    if headers.get("retry_after", "").isdigit():
        assert entry["due_at"] - entry["tries"][0]["at"] >= 120


def test_a_receiver_that_hangs_or_floods_holds_up_nobody(ledger: Ledger, receiver: Receiver) -> None:
    release = threading.Event()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        path = handler.path
        if path.endswith("hang"):
            release.wait(10)
        elif path.endswith("flood"):
            handler.send_response(200)
            handler.send_header("content-length", str(10 << 20))
            handler.end_headers()
            try:
                for _ in range(160):
                    handler.wfile.write(b"x" * 65536)
            except OSError:
                pass
        else:
            _reply(handler, 200)

    receiver.answer = answer
    jobs = {name: finished_job(ledger, f"{receiver.url}/{name}") for name in ("hang", "flood", "plain")}
    assert send(ledger) == 3
    release.set()
    states = {name: outbox.log_of(ledger.engine, job_id=job.id)[0] for name, job in jobs.items()}
    assert states["plain"]["state"] == "delivered" and states["flood"]["state"] == "delivered"
    assert states["hang"]["state"] == "pending" and "no answer within" in states["hang"]["tries"][0]["error"]


def test_a_closed_port_is_tried_again_and_in_the_end_given_up(ledger: Ledger) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
    job = finished_job(ledger, url)
    for _ in outbox.BACKOFF_S:
        make_due(ledger)
        assert send(ledger) == 1
    (entry,) = outbox.log_of(ledger.engine, job_id=job.id)
    assert entry["state"] == "failed" and len(entry["tries"]) == len(outbox.BACKOFF_S)
    outbox.replay(ledger.engine, entry["id"], time.time())
    with pytest.raises(Conflict):
        outbox.replay(ledger.engine, entry["id"], time.time())
    assert send(ledger) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://[::1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://10.1.2.3/",
        "http://169.254.169.254/latest/meta-data",
        "http://0.0.0.0/",
        "http://224.0.0.1/",
        "ftp://example.org/",
        "http:///nohost",
        "http://user:secret@example.org/",
        "https://example.org:99999/",
        "https://example.org:0/",
        " https://example.org/",
        "http://xn--a/",
        "http://☃.example/",
        "https://example.org/" + "x" * 3000,
    ],
)
def test_an_address_that_may_not_be_called_is_refused_from_its_text_alone(tmp_path: Path, url: str) -> None:
    with pytest.raises(targets.Refused):
        targets.check_url(Settings(home=tmp_path, _env_file=None), url)


def test_a_name_that_resolves_to_a_private_address_is_refused_and_logged(ledger: Ledger, receiver: Receiver) -> None:
    ledger.settings = ledger.settings.model_copy(update={"webhook_allow": []})
    job = finished_job(ledger, receiver.url.replace("127.0.0.1", "localhost"))
    send(ledger)
    (entry,) = outbox.log_of(ledger.engine, job_id=job.id)
    assert receiver.got == [] and entry["state"] == "failed"
    assert "MILO_WEBHOOK_ALLOW" in entry["tries"][0]["error"]


def test_the_operator_can_allow_a_name_or_a_network(ledger: Ledger, receiver: Receiver) -> None:
    url = receiver.url.replace("127.0.0.1", "localhost")
    for allowed in (["localhost"], ["127.0.0.0/8", "::1/128"]):
        ledger.settings = ledger.settings.model_copy(update={"webhook_allow": allowed})
        finished_job(ledger, url)
        send(ledger)
    assert len(receiver.got) == 2
    assert receiver.got[0][0]["host"].startswith("localhost:")


def test_a_name_beyond_ascii_is_called_as_the_network_spells_it(
    ledger: Ledger, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo

    def name_server(host: Any, *rest: Any, **named: Any) -> Any:
        return real("127.0.0.1" if host == "xn--tst-kna.example" else host, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", name_server)
    finished_job(ledger, receiver.url.replace("127.0.0.1", "tôst.example"))
    send(ledger)
    assert receiver.got[0][0]["host"] == f"xn--tst-kna.example:{receiver.server.server_port}"


def test_the_secret_is_made_once_and_readable_by_its_owner_alone(settings: Settings) -> None:
    first = signing.operator_secret(settings)
    assert first.startswith("whsec_") and signing.operator_secret(settings) == first
    assert (settings.home / "secrets" / "webhook").stat().st_mode & 0o077 == 0


def test_waiting_grows_as_the_standard_says_and_ends() -> None:
    waits = [(delivery.next_try(n, 0.0) or 0) for n in range(1, len(outbox.BACKOFF_S))]
    assert all(low <= wait <= low * 1.2 for low, wait in zip(outbox.BACKOFF_S[1:], waits, strict=True))
    assert delivery.next_try(len(outbox.BACKOFF_S), 0.0) is None


def test_the_body_stays_small_however_large_the_result(ledger: Ledger, receiver: Receiver) -> None:
    new = NewJob(kind="ping", payload={"seconds": 0}, owner="operator", priority="batch", callback_url=receiver.url)
    claim = ledger.claim(ledger.create(new).id, "w")
    assert claim
    ledger.finish(claim, {"text": "x" * 100_000})
    send(ledger)
    assert len(receiver.got[0][1]) < 20_000
    assert "result_url" in json.loads(receiver.got[0][1])["data"]


@pytest.mark.parametrize(
    "answer", ["64:ff9b::7f00:1", "2002:7f00:1::", "::7f00:1", "fec0::1", "192.0.0.8", "fe80::1%lo"]
)
def test_a_name_that_resolves_to_a_disguised_address_is_refused_when_it_is_called(
    ledger: Ledger, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    """Even when its other address is public: any of them could be the one that is called."""

    def name_server(host: Any, port: Any, *rest: Any, **named: Any) -> Any:
        family = socket.AF_INET6 if ":" in answer else socket.AF_INET
        found = ((socket.AF_INET, "8.8.8.8"), (family, answer))
        return [(kind, socket.SOCK_STREAM, 6, "", (address, port)) for kind, address in found]

    monkeypatch.setattr(socket, "getaddrinfo", name_server)
    job = finished_job(ledger, "http://rebound.example/hook")
    send(ledger)
    (entry,) = outbox.log_of(ledger.engine, job_id=job.id)
    assert entry["state"] == "failed" and "MILO_WEBHOOK_ALLOW" in entry["tries"][0]["error"]
