"""The Python client: against a small server that misbehaves on purpose, and against the real stack."""

from __future__ import annotations

import base64
import io
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from milo.client import Milo, verify_webhook
from milo.client.sources import ServerPath, prepare
from milo.errors import (
    BadMedia,
    BadRequest,
    Conflict,
    Forbidden,
    Invalid,
    MiloError,
    ModelUnavailable,
    NotFound,
    TooLarge,
    TooMany,
    Unauthorized,
    Unavailable,
)
from milo.stack.ports import free_port
from milo.transcription.transcript import Transcript
from tests.support.audio_factory import say, silence, wav
from tests.support.live import Live, live_stack

# --- a server that does what the test says ----------------------------------------------------------------------------


@dataclass
class Answer:
    status: int = 200
    document: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None


@dataclass
class Heard:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@contextmanager
def server(*answers: Answer | None) -> Iterator[tuple[str, list[Heard]]]:
    """Gives the answers in turn, the last one for ever. None: close the connection without a word."""
    heard: list[Heard] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            heard.append(Heard(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            given = answers[min(len(heard), len(answers)) - 1]
            if given is None:
                self.close_connection = True
                return
            content = given.raw if given.raw is not None else json.dumps(given.document).encode()
            self.send_response(given.status)
            for name, value in {"Content-Length": str(len(content)), **given.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = answer

        def log_message(self, *_: object) -> None:
            return

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_port}", heard
    finally:
        running.shutdown()
        running.server_close()
        thread.join()


JOB = {"id": "job_1", "kind": "ping", "state": "queued"}
BUSY = Answer(503, Unavailable("the ledger is away").problem(), {"Retry-After": "0"})


@pytest.mark.parametrize(
    "kind", [BadRequest, Unauthorized, Forbidden, NotFound, Conflict, TooLarge, BadMedia, Invalid, ModelUnavailable]
)
def test_a_problem_document_becomes_the_error_that_made_it(kind: type[MiloError]) -> None:
    with server(Answer(kind.status, kind("the reason").problem())) as (url, heard), Milo(url, "k") as milo:
        with pytest.raises(kind, match="the reason") as caught:
            milo.job("job_1")
    assert type(caught.value) is kind and len(heard) == 1


def test_an_unknown_code_is_told_by_its_status() -> None:
    error = MiloError.from_problem(
        {"status": 404, "code": "unknown_job", "detail": "there is no job", "errors": [{"detail": "x"}]}
    )
    assert type(error) is NotFound and error.code == "unknown_job" and error.errors == [{"detail": "x"}]
    assert type(MiloError.from_problem({"status": 418, "detail": "tea"})) is MiloError


@pytest.mark.parametrize("raw", [b"", b"<html>Bad Gateway</html>", b"[1]", b'{"message": "x"}'])
def test_an_answer_that_is_no_problem_document_still_makes_a_sentence(raw: bytes) -> None:
    with server(Answer(502, raw=raw)) as (url, _), Milo(url, "k") as milo:
        with pytest.raises(MiloError, match="answered 502"):
            milo.job("job_1")


def test_the_status_of_a_problem_is_the_answers_own() -> None:
    with server(Answer(404, {"detail": "no", "status": "odd"})) as (url, _), Milo(url, "k") as milo:
        with pytest.raises(NotFound, match="no"):
            milo.job("job_1")


@pytest.mark.parametrize("trouble", [BUSY, None, Answer(429, TooMany().problem(), {"Retry-After": "0"})])
def test_trouble_that_passes_is_waited_out_with_one_idempotency_key(trouble: Answer | None) -> None:
    with server(trouble, trouble, Answer(202, JOB)) as (url, heard), Milo(url, "k") as milo:
        assert milo.submit_job("ping", {"seconds": 0}).id == "job_1"
    assert len(heard) == 3
    assert len({one.headers["idempotency-key"] for one in heard}) == 1
    assert {one.body for one in heard} == {heard[0].body}
    assert heard[0].headers["authorization"] == "Bearer k"


def test_trouble_that_stays_is_raised_when_patience_ends() -> None:
    with server(BUSY) as (url, _), Milo(url, "k", patience_s=0.3) as milo, pytest.raises(Unavailable, match="ledger"):
        milo.job("job_1")


def test_a_retry_after_beyond_patience_is_not_waited_for() -> None:
    late = Answer(503, Unavailable("later").problem(), {"Retry-After": "3600"})
    with server(late) as (url, heard), Milo(url, "k") as milo, pytest.raises(Unavailable) as caught:
        milo.job("job_1")
    assert len(heard) == 1 and caught.value.retry_after_s == 3600


def test_no_server_at_all_is_a_sentence() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with Milo(url, "k", patience_s=0) as milo, pytest.raises(Unavailable, match="Is Milo up there"):
        milo.job("job_1")


def test_the_health_of_a_server_that_is_down_is_shown() -> None:
    down = {"status": "down", "checks": {"database": {"ok": False, "detail": "away"}}}
    with server(Answer(503, down)) as (url, heard), Milo(url, "k") as milo:
        assert milo.health() == down and len(heard) == 1


@pytest.mark.parametrize("raw", [b"<html>hello</html>", b'{"status": "ok"}', b"[]"])
def test_another_program_on_the_port_is_not_taken_for_milo(raw: bytes) -> None:
    with server(Answer(200, raw=raw)) as (url, _), Milo(url, "k") as milo, pytest.raises(Unavailable, match="not Milo"):
        milo.health()


@pytest.mark.parametrize("raw", [b"<html>hello</html>", b"", b"[]", b"null", b"\xff"])
def test_a_page_in_the_place_of_a_document_is_not_taken_for_milo(raw: bytes) -> None:
    ways: list[Callable[[Milo], object]] = [Milo.status, Milo.models, lambda milo: milo.job("job_1")]
    ways += [lambda milo: milo.submit_job("ping", {}), lambda milo: milo.cancel("job_1"), lambda milo: [*milo.jobs()]]
    for way in ways:
        with server(Answer(200, raw=raw)) as (url, _), Milo(url, "k") as milo:
            with pytest.raises(Unavailable, match="not Milo"):
                way(milo)


@pytest.mark.parametrize("key", ["clé", "a\nb", "a\0"])
def test_a_key_that_is_none_is_a_sentence(key: str) -> None:
    with pytest.raises(Unauthorized, match="MILO_API_KEY"):
        Milo("http://127.0.0.1:1", key)


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "", "http://"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(MiloError, match="URL"):
        Milo(url or " ", "k")


def test_a_blob_that_is_there_is_not_sent() -> None:
    with server(Answer(200, {"id": "x", "size_bytes": 3})) as (url, heard), Milo(url, "k") as milo:
        digest = milo.upload(b"abc")
    assert [one.method for one in heard] == ["GET"] and heard[0].path.endswith(f"/blobs/{digest}")


def test_a_blob_is_sent_again_from_its_start_after_a_broken_connection(tmp_path: Path) -> None:
    digest = prepare(b"abc" * 1000)[0]
    stored = Answer(201, {"id": digest, "size_bytes": 3000})
    absent = Answer(404, NotFound("no").problem())
    (tmp_path / "a.wav").write_bytes(b"abc" * 1000)
    for source in (b"abc" * 1000, tmp_path / "a.wav", io.BytesIO(b"abc" * 1000)):
        with server(absent, None, stored) as (url, heard), Milo(url, "k") as milo:
            assert milo.upload(source) == digest
        assert [len(one.body) for one in heard if one.method == "POST"] == [3000, 3000]


def test_a_stream_that_can_not_go_back_is_sent_whole() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"abc")
    os.close(writer)
    absent, stored = Answer(404, NotFound("no").problem()), Answer(201, {"id": prepare(b"abc")[0], "size_bytes": 3})
    with os.fdopen(reader, "rb") as stream, server(absent, stored) as (url, _), Milo(url, "k") as milo:
        assert milo.upload(stream) == prepare(b"abc")[0]


def test_a_file_that_grows_while_it_is_sent_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "growing.wav"
    path.write_bytes(b"x" * 100)
    digest, size_bytes, content = prepare(path)
    path.write_bytes(b"x" * 200)
    monkeypatch.setattr("milo.client.client.prepare", lambda source: (digest, size_bytes, content))
    with server(Answer(404, NotFound("no").problem())) as (url, _), Milo(url, "k", patience_s=0) as milo:
        with pytest.raises(Conflict, match="changed while it was being sent"):
            milo.upload(path)


@pytest.mark.parametrize("name", ["missing.wav", "."])
def test_what_is_no_file_is_refused_before_anything_is_sent(name: str, tmp_path: Path) -> None:
    with server(Answer()) as (url, heard), Milo(url, "k") as milo, pytest.raises(Invalid, match=r"file"):
        milo.upload(tmp_path / name)
    assert heard == []


def test_listings_are_read_page_by_page() -> None:
    pages = [
        Answer(200, {"items": [{**JOB, "id": "a"}, {**JOB, "id": "b"}], "next": "b"}),
        Answer(200, {"items": [{**JOB, "id": "c"}], "next": None}),
    ]
    with server(*pages) as (url, heard), Milo(url, "k") as milo:
        assert [job.id for job in milo.jobs(state="queued")] == ["a", "b", "c"]
    assert "before=b" in heard[1].path and "state=queued" in heard[1].path
    with server(*pages) as (url, heard), Milo(url, "k") as milo:
        assert [job.id for job in milo.jobs(limit=2)] == ["a", "b"]
    assert len(heard) == 1


def test_waiting_ends_at_its_time() -> None:
    with (
        server(Answer(200, JOB)) as (url, _),
        Milo(url, "k") as milo,
        pytest.raises(TimeoutError, match="still queued"),
    ):
        milo.wait("job_1", timeout_s=0.1)


# --- webhooks ---------------------------------------------------------------------------------------------------------

SECRET = "whsec_" + base64.b64encode(b"a secret of twenty-four bytes").decode()
BODY = json.dumps({"type": "job.succeeded", "data": {"text": "salama é"}}, ensure_ascii=False).encode()


def signed(body: bytes = BODY, secret: str = SECRET, at: float | None = None) -> dict[str, str]:
    when = datetime.fromtimestamp(at, timezone.utc) if at is not None else datetime.now(timezone.utc)
    signature = Webhook(secret).sign("msg_1", when, body.decode())
    stamp = str(int(when.timestamp()))
    return {"Webhook-Id": "msg_1", "Webhook-Timestamp": stamp, "Webhook-Signature": signature}


def test_a_webhook_with_the_right_signature_is_read() -> None:
    assert verify_webhook(signed(), BODY, SECRET)["type"] == "job.succeeded"


@pytest.mark.parametrize(
    "change",
    [
        lambda headers: {},
        lambda headers: signed(b"{}"),
        lambda headers: signed(secret="whsec_" + base64.b64encode(b"x" * 24).decode()),
        lambda headers: signed(at=1.0),
        lambda headers: {**headers, "Webhook-Signature": "v1"},
        lambda headers: {**headers, "Webhook-Signature": "v1,***"},
        lambda headers: {**headers, "Webhook-Timestamp": "soon"},
    ],
)
def test_a_webhook_of_somebody_else_is_refused(change: Callable[[dict[str, str]], dict[str, str]]) -> None:
    with pytest.raises(BadRequest) as caught:
        verify_webhook(change(signed()), BODY, SECRET)
    assert caught.value.code == "bad_signature"


GREEDY: dict[str, Any] = {"language": "en", "temperature": 0}
"""Without sampling, so that the same sound always gives the same text."""

# --- the real thing ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("client")


@pytest.fixture(scope="module")
def live(folder: Path) -> Iterator[Live]:
    (folder / "archive").mkdir()
    with live_stack(folder, roots=[folder / "archive"], without=["flower", "beat"]) as stack:
        yield stack


@pytest.fixture
def milo(live: Live) -> Iterator[Milo]:
    with Milo(live.url, live.settings.api_key) as client:
        yield client


@pytest.fixture(scope="module")
def talk() -> bytes:
    return wav(say("good morning, it is ten o'clock").tobytes())


def test_a_recording_is_transcribed(milo: Milo, talk: bytes) -> None:
    transcript = milo.transcribe(talk, **GREEDY)
    assert isinstance(transcript, Transcript) and transcript.duration > 1
    job = milo.wait(milo.submit(io.BytesIO(talk), **GREEDY).id).check()
    assert milo.transcript(job).text == transcript.text
    assert milo.result(job.id, "vtt").startswith("WEBVTT")


def test_a_batch_is_followed_to_its_end(milo: Milo, talk: bytes, folder: Path) -> None:
    (folder / "archive" / "by path.wav").write_bytes(talk)
    (folder / "here.wav").write_bytes(wav(silence(1.0).tobytes()))
    sources = [talk, folder / "here.wav", ServerPath(folder / "archive" / "by path.wav"), b"this is no audio at all"]
    handle = milo.batch(sources, name="four", **GREEDY)
    seen: list[int] = []
    batch = handle.wait(on_progress=lambda now: seen.append(now.done), timeout_s=120, poll_s=0.1)
    assert batch.state == "failed" and batch.counts["succeeded"] == 3 and batch.counts["failed"] == 1
    assert seen[-1] == 4
    jobs = list(handle.jobs())
    assert [job.state for job in jobs] == ["succeeded", "succeeded", "succeeded", "failed"]
    assert [job.name for job in jobs[1:3]] == ["here.wav", "by path.wav"]
    with pytest.raises(BadMedia):
        jobs[3].check()
    texts = dict((job.batch_index, text) for job, text in handle.results("txt"))
    assert texts[1] == "" and texts[0] == texts[2]
    assert handle.download(folder / "all.zip", formats="srt,txt").read_bytes().startswith(b"PK")
    assert milo.batch_handle(handle.id).latest.name == "four"


def test_a_job_is_cancelled_and_tried_again(milo: Milo) -> None:
    job = milo.submit_job("ping", {"seconds": 60})
    milo.cancel(job.id)
    ended = milo.wait(job.id, timeout_s=60)
    assert ended.state == "cancelled"
    with pytest.raises(Conflict):
        ended.check()
    assert milo.retry(job.id).state == "queued"
    milo.cancel(job.id)
    assert milo.wait(job.id, timeout_s=60).state == "cancelled"


def test_a_path_outside_the_allowed_roots_is_refused(milo: Milo) -> None:
    with pytest.raises(Forbidden):
        milo.submit(ServerPath("/etc/passwd"))


def test_a_wrong_key_and_an_unknown_job_are_refused(live: Live, milo: Milo) -> None:
    with Milo(live.url, "wrong") as stranger, pytest.raises(Unauthorized):
        stranger.job("job_1")
    with pytest.raises(NotFound):
        milo.job("job_000000000000000000000000")


def test_health_and_models_are_shown(milo: Milo) -> None:
    assert milo.health()["status"] in ("healthy", "degraded")
    assert isinstance(milo.models(), list)
