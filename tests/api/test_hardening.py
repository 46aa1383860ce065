"""HTTP as an attacker speaks it: endless heads, slow heads, names with line breaks; and what browsers are told."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.answers.results import disposition, safe_path
from api.http.protocol import BoundedHttp
from milo.ledger import Ledger
from milo.settings import Settings
from milo.stack.services import all_services
from tests.api.conftest import KEY, finish, raw, transcript
from tests.support.servers import api_in_thread


@pytest.fixture
def connection(url: str) -> Iterator[socket.socket]:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as opened:
        yield opened


def all_of(connection: socket.socket) -> bytes:
    """What comes until the server closes."""
    answer = b""
    try:
        while part := connection.recv(65536):
            answer += part
    except ConnectionResetError:
        pass
    return answer


@pytest.mark.parametrize("endless", [b"X: " + b"a" * 400_000, b"X-%d: a\r\n" * 40_000, b"a" * 400_000])
def test_a_head_without_end_is_cut_off(endless: bytes, connection: socket.socket) -> None:
    try:
        connection.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n" + endless)
    except OSError:
        pass  # closed while we were still sending
    answer = all_of(connection)  # a server that goes on reading would let this time out
    assert not answer or answer.split(b"\r\n")[0].split()[1] in (b"431", b"400")


def test_a_url_without_end_is_cut_off(connection: socket.socket) -> None:
    try:
        connection.sendall(b"GET /" + b"a" * 400_000)
    except OSError:
        pass
    answer = all_of(connection)
    assert not answer or answer.split(b"\r\n")[0].split()[1] in (b"431", b"400")


@pytest.mark.parametrize("many", [b"X: " + b"a" * 70_000 + b"\r\n", b"X-Y: aaaaaaaa\r\n" * 6_000])
def test_a_head_that_is_too_large_is_refused_even_if_it_comes_in_one_piece(many: bytes, url: str) -> None:
    for path in (b"/api/v1/health", b"/api/v1/health?" + b"a" * 70_000):
        sent = b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + many + b"\r\n"
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as opened:
            opened.sendall(sent)
            assert all_of(opened).split(b"\r\n")[0].split()[1:2] in ([b"431"], [])
    assert httpx.get(f"{url}/api/v1/health", trust_env=False).status_code == 200


def test_a_trailer_without_end_loses_its_connection(connection: socket.socket) -> None:
    head = b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    head += b"Authorization: Bearer " + KEY.encode() + b"\r\nContent-Type: application/json\r\n\r\n2\r\n{}\r\n0\r\n"
    try:
        connection.sendall(head + b"X-Y: aaaaaaaa\r\n" * 20_000)
    except OSError:
        pass
    all_of(connection)  # a server that goes on reading would let this time out


def test_a_head_of_60_kb_and_a_body_after_it_are_taken(client: httpx.Client) -> None:
    answer = client.post("/jobs", json={"kind": "ping"}, headers={"X-Long": "a" * 60_000})
    assert answer.status_code == 202
    assert client.post("/blobs", content=b"a" * 500_000).status_code == 201, "a body is no head"
    assert client.get("/jobs").status_code == 200


def test_a_head_that_does_not_come_loses_its_connection(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedHttp, "head_s", 0.2)
    with api_in_thread(settings) as base:
        host, port = base.removeprefix("http://").split(":")
        for begun in (b"", b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n"):
            with socket.create_connection((host, int(port)), timeout=20) as connection:
                connection.sendall(begun)
                assert all_of(connection) == b""
        assert httpx.get(f"{base}/api/v1/health", trust_env=False).status_code == 200


def test_the_stack_runs_the_bounded_protocol(settings: Settings) -> None:
    command = next(service.command for service in all_services(settings) if service.name == "api")
    assert command[command.index("--http") + 1] == f"{BoundedHttp.__module__}:{BoundedHttp.__name__}"


def test_browsers_are_told_to_run_nothing(url: str, client: httpx.Client) -> None:
    for answer in (client.get("/jobs"), client.get("/nothing"), httpx.get(f"{url}/api/v1/jobs", trust_env=False)):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["x-frame-options"] == "DENY" and answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
    docs = httpx.get(f"{url}/docs", trust_env=False)
    assert "script-src 'self'" in docs.headers["content-security-policy"] and "http" not in docs.headers[
        "content-security-policy"
    ].replace("https://", "")


def test_pages_of_other_origins_are_told_nothing_by_default(client: httpx.Client, url: str) -> None:
    origin = {"Origin": "https://evil.example"}
    answer = client.get("/jobs", headers=origin)
    preflight = httpx.options(
        f"{url}/api/v1/jobs", headers=origin | {"Access-Control-Request-Method": "GET"}, trust_env=False
    )
    for one in (answer, preflight):
        assert not [name for name in one.headers if name.startswith("access-control")]


def test_an_answer_to_a_page_of_an_allowed_origin_names_that_origin_alone(settings: Settings) -> None:
    with api_in_thread(settings.model_copy(update={"cors_origins": ["https://app.example"]})) as base:
        for origin, named in (("https://app.example", "https://app.example"), ("https://evil.example", None)):
            headers = {"Origin": origin, "Authorization": f"Bearer {KEY}"}
            answer = httpx.get(f"{base}/api/v1/jobs", headers=headers, trust_env=False)
            assert answer.headers.get("access-control-allow-origin") == named
            assert "access-control-allow-credentials" not in answer.headers


NAMES = (
    'a"b.wav',
    "a;filename=b.wav",
    "../../etc/passwd",
    "C:\\x\\y.wav",
    "аудио.wav",
)
REFUSED = ("a\r\nX-Evil: 1.wav", "\u202egpj.wav", "a\x9b2J.wav")


@pytest.mark.parametrize("name", NAMES)
def test_a_file_name_breaks_out_of_no_header(name: str, client: httpx.Client, ledger: Ledger, archive: Path) -> None:
    blob = client.post("/blobs", content=b"RIFF").json()["id"]
    payload = {"kind": "stt", "payload": {"source": {"blob": blob, "name": name}}}
    job_id = client.post("/jobs", json=payload).json()["id"]
    finish(ledger, job_id, transcript("salama"))
    answer = client.get(f"/jobs/{job_id}/result", params={"format": "txt"})
    assert answer.status_code == 200 and "x-evil" not in answer.headers
    shown = answer.headers["content-disposition"]
    assert (
        shown.startswith('attachment; filename="') and shown.count('"') == 2 and "/" not in shown and "\\" not in shown
    )
    assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["content-type"].startswith(
        "text/plain"
    )


@pytest.mark.parametrize("name", REFUSED)
def test_a_name_with_controls_or_overrides_is_refused_at_the_door(name: str, client: httpx.Client) -> None:
    blob = client.post("/blobs", content=b"RIFF").json()["id"]
    source = {"kind": "stt", "payload": {"source": {"blob": blob, "name": name}}}
    batch = {"name": name, "items": [{"blob": blob}]}
    for path, document in (("/jobs", source), ("/batches", batch)):
        answer = client.post(path, json=document)
        assert answer.status_code == 422 and "control or invisible character" in answer.json()["detail"]


def test_no_name_makes_a_header_or_a_path_of_its_own() -> None:
    for name in (*NAMES, *REFUSED):
        header = disposition("attachment", f"{safe_path(name)}.txt")
        assert header.isascii() and header.isprintable()
        assert not {"..", "", "."} & set(safe_path(name).split("/"))


def test_two_lengths_or_a_smuggled_request_are_refused(url: str) -> None:
    two = b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n12345"
    both = b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
    both += b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    for sent in (two, both):
        assert raw(url, sent).split(b"\r\n")[0].split()[1] in (b"400", b"401")
