"""How much, how fast, how often."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path

import anyio
import httpx
import pytest
from starlette.types import Message

from api.http.limits import BodyLimit
from milo.settings import Settings
from tests.api.conftest import KEY, problem, raw
from tests.support.servers import api_in_thread, wait_until

UPLOAD = 300_000
BODY = 100_000


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"max_upload_bytes": UPLOAD, "max_body_bytes": BODY})


def pieces(total: int, size: int = 16_384) -> Iterator[bytes]:
    """A body without a Content-Length."""
    for start in range(0, total, size):
        yield b"a" * min(size, total - start)


def incoming(settings: Settings) -> list[Path]:
    return list((settings.home / "incoming").glob("*"))


def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_sent(url: str) -> None:
    head = f"POST /api/v1/stt HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
    head += "Content-Length: 4294967296\r\n\r\n"
    answer = raw(url, head.encode())
    assert b" 413 " in answer.split(b"\r\n")[0]
    assert b"MILO_MAX_BODY_BYTES" in answer and str(BODY).encode() in answer


@pytest.mark.parametrize("path", ["/stt", "/jobs", "/batches"])
def test_a_body_of_unknown_length_is_cut_off_at_the_limit(client: httpx.Client, path: str) -> None:
    answer = client.post(path, content=pieces(BODY * 3), headers={"Content-Type": "application/json"})
    assert str(BODY) in problem(answer, 413, "too_large")["detail"]


@pytest.mark.parametrize("content", [b"a" * (UPLOAD + 1), UPLOAD + 1])
def test_an_upload_over_the_limit_leaves_nothing(
    client: httpx.Client, settings: Settings, content: bytes | int
) -> None:
    body = content if isinstance(content, bytes) else pieces(content)
    answer = client.post("/blobs", content=body, headers={"Content-Type": "audio/wav"})
    assert str(UPLOAD) in problem(answer, 413, "too_large")["detail"]
    assert incoming(settings) == [] and not list(settings.home.glob("blobs/*/*"))


def test_an_upload_of_exactly_the_limit_is_taken(client: httpx.Client) -> None:
    whole = b"a" * UPLOAD
    assert client.post("/blobs", content=whole).json() == {
        "id": hashlib.sha256(whole).hexdigest(),
        "size_bytes": UPLOAD,
    }
    assert client.post("/blobs", files={"file": ("a.wav", whole)}).status_code == 201
    assert client.post("/blobs", content=pieces(UPLOAD)).status_code == 201


@pytest.mark.parametrize("path", ["/stt", "/blobs", "/batches"])
def test_a_form_over_the_limit_leaves_nothing(client: httpx.Client, settings: Settings, path: str) -> None:
    answer = client.post(path, files=[("file", ("a.wav", b"a" * (UPLOAD + 2_000_000)))])
    problem(answer, 413, "too_large")
    assert incoming(settings) == []


def test_the_files_of_a_form_count_together(client: httpx.Client, settings: Settings) -> None:
    each = b"a" * (UPLOAD // 2)
    answer = client.post("/batches", files=[("file", (f"{n}.wav", each + bytes([n]))) for n in range(3)])
    problem(answer, 413, "too_large")
    assert incoming(settings) == [] and client.get("/batches").json()["items"] == []


def test_a_form_field_can_not_be_a_file(client: httpx.Client) -> None:
    data = {"language": "m" * 70_000}
    assert "language" in problem(client.post("/stt", data=data, files={"file": b"RIFF"}), 413)["detail"]


def test_a_client_that_breaks_off_leaves_nothing(url: str, client: httpx.Client, settings: Settings) -> None:
    head = f"POST /api/v1/blobs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
    head += "Content-Length: 200000\r\n\r\n"
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head.encode() + b"a" * 50_000)
        wait_until(lambda: len(incoming(settings)) == 1, "the upload did not begin")
    wait_until(lambda: incoming(settings) == [], "the broken upload stayed on the disk")
    assert not list(settings.home.glob("blobs/*/*"))
    assert client.get("/jobs").status_code == 200


def test_a_form_that_ends_early_leaves_nothing(client: httpx.Client, settings: Settings) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + b"a" * 20_000
    for path in ("/stt", "/blobs", "/batches"):
        answer = client.post(path, content=body, headers={"Content-Type": "multipart/form-data; boundary=b"})
        assert "ends in the middle" in problem(answer, 400, "bad_multipart")["detail"]
    assert incoming(settings) == [] and not list(settings.home.glob("blobs/*/*"))


def test_a_body_that_stops_arriving_is_given_up() -> None:
    answers: list[Message] = []

    async def reads_all(scope: object, receive: object, send: object) -> None:
        from api.http.problems import send_problem
        from milo.errors import MiloError

        try:
            while (await receive()).get("more_body"):  # type: ignore[operator]
                pass
        except MiloError as error:
            await send_problem(error, scope, receive, send)  # type: ignore[arg-type]

    async def never() -> Message:
        await anyio.sleep_forever()
        raise AssertionError

    async def keep(message: Message) -> None:
        answers.append(message)

    scope = {"type": "http", "path": "/api/v1/blobs", "method": "POST", "headers": []}
    anyio.run(BodyLimit(reads_all, Settings(_env_file=None), stall_s=0.05), scope, never, keep)  # type: ignore[arg-type]
    assert answers[0]["status"] == 408


def test_more_than_so_many_requests_a_minute_are_a_429(settings: Settings) -> None:
    with api_in_thread(settings.model_copy(update={"rate_limit": "3/minute"})) as base:
        headers = {"Authorization": f"Bearer {KEY}"}
        with httpx.Client(base_url=base, headers=headers, trust_env=False) as client:
            answers = [client.get("/api/v1/jobs") for _ in range(4)]
            assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
            assert answers[0].headers["ratelimit-policy"] == '"requests";q=3;w=60'
            assert answers[0].headers["ratelimit"].startswith('"requests";r=2;t=')
            problem(answers[3], 429, "rate_limited")
            assert 1 <= int(answers[3].headers["retry-after"]) <= 120
            assert client.get("/api/v1/health").status_code == 200


def test_without_redis_nobody_is_rate_limited(settings: Settings) -> None:
    away = settings.model_copy(update={"rate_limit": "1/minute", "redis_url": "redis://127.0.0.1:9/0"})
    with api_in_thread(away) as base:
        headers = {"Authorization": f"Bearer {KEY}"}
        for _ in range(3):
            assert httpx.get(f"{base}/api/v1/jobs", headers=headers, trust_env=False).status_code == 200


def test_more_than_so_many_queued_jobs_are_a_429(settings: Settings) -> None:
    with api_in_thread(settings.model_copy(update={"max_queued_jobs": 2})) as base:
        headers = {"Authorization": f"Bearer {KEY}"}
        with httpx.Client(base_url=f"{base}/api/v1", headers=headers, trust_env=False) as client:
            for _ in range(2):
                assert client.post("/jobs", json={"kind": "ping"}).status_code == 202
            answer = client.post("/jobs", json={"kind": "ping"})
            problem(answer, 429, "queue_full")
            assert int(answer.headers["retry-after"]) >= 1
