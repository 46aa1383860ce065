"""A recording by HTTP ranges, and its waveform; both under the job's owner."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.http import links
from api.routes import playback
from milo.ledger import Ledger
from milo.settings import Settings
from milo.storage.files import Files
from milo.storage.playback import Playback, PlaybackFiles
from tests.api.conftest import People, problem

SAMPLE = Path(__file__).parents[2] / "samples" / "01-mono-16k.wav"
CONTENT = SAMPLE.read_bytes()


@pytest.fixture
def job_id(client: httpx.Client) -> str:
    blob = client.post("/blobs", content=CONTENT).json()["id"]
    request = {"blob": blob, "name": "feo <script>.wav"}
    return str(client.post("/stt", json=request, headers={"Prefer": "respond-async"}).json()["id"])


@pytest.fixture
def ready(job_id: str, settings: Settings) -> str:
    """As the worker leaves it."""
    stored = PlaybackFiles(Files(settings), job_id)
    stored.keep_peaks(b"peaks")
    stored.keep(Playback(media_type="audio/wav", transcoded=False, duration_s=1))
    return job_id


def test_the_first_who_asks_gets_the_job_that_makes_it_and_the_next_the_same(
    client: httpx.Client, job_id: str, ledger: Ledger, people: People
) -> None:
    first, second = client.get(f"/jobs/{job_id}/audio"), client.get(f"/jobs/{job_id}/audio/peaks?wait=0.1")
    assert first.status_code == second.status_code == 202 and first.headers["retry-after"] == "1"
    assert first.json()["id"] == second.json()["id"] and first.json()["kind"] == "playback"
    claim = ledger.claim(first.json()["id"], "w")
    assert claim
    from milo.errors import BadMedia

    ledger.fail(claim, BadMedia("no audio in it"))
    problem(client.get(f"/jobs/{job_id}/audio/peaks"), 415, "bad_media")
    with people.client("somebody") as other:
        problem(other.get(f"/jobs/{job_id}/audio"), 404)
        problem(other.get(f"/jobs/{job_id}/audio/peaks"), 404)


@pytest.mark.parametrize(
    ("asked", "status", "start", "end"),
    [
        (None, 200, 0, len(CONTENT)),
        ("bytes=0-99", 206, 0, 100),
        ("bytes=100-", 206, 100, len(CONTENT)),
        ("bytes=-50", 206, len(CONTENT) - 50, len(CONTENT)),
        (f"bytes=10-{10**12}", 206, 10, len(CONTENT)),
        ("bytes=0-1,5-9", 200, 0, len(CONTENT)),
        ("bytes=9-5", 200, 0, len(CONTENT)),
        ("lines=1-2", 200, 0, len(CONTENT)),
        (f"bytes={'9' * 30}-", 200, 0, len(CONTENT)),
    ],
)
def test_a_range_is_what_it_says(
    client: httpx.Client, ready: str, asked: str | None, status: int, start: int, end: int
) -> None:
    answer = client.get(f"/jobs/{ready}/audio", headers={"Range": asked} if asked else {})
    assert answer.status_code == status and answer.content == CONTENT[start:end]
    assert answer.headers["content-type"] == "audio/wav" and answer.headers["accept-ranges"] == "bytes"
    if status == 206:
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(CONTENT)}"


def test_beyond_the_end_if_range_and_etags(client: httpx.Client, ready: str) -> None:
    beyond = client.get(f"/jobs/{ready}/audio", headers={"Range": f"bytes={len(CONTENT)}-"})
    problem(beyond, 416, "bad_range")
    assert beyond.headers["content-range"] == f"bytes */{len(CONTENT)}"
    etag = client.head(f"/jobs/{ready}/audio").headers["etag"]
    ranged = {"Range": "bytes=0-9"}
    assert client.get(f"/jobs/{ready}/audio", headers=ranged | {"If-Range": etag}).status_code == 206
    assert client.get(f"/jobs/{ready}/audio", headers=ranged | {"If-Range": '"older"'}).status_code == 200
    assert client.get(f"/jobs/{ready}/audio", headers={"If-None-Match": etag}).status_code == 304
    name = client.head(f"/jobs/{ready}/audio").headers["content-disposition"]
    assert name.startswith("inline") and "<" not in name
    peaks = client.get(f"/jobs/{ready}/audio/peaks")
    assert peaks.content == b"peaks" and peaks.headers["content-type"] == "application/octet-stream"
    again = client.get(f"/jobs/{ready}/audio/peaks", headers={"If-None-Match": peaks.headers["etag"]})
    assert again.status_code == 304


def test_only_a_transcription_has_a_recording(client: httpx.Client, settings: Any) -> None:
    other = client.post("/jobs", json={"kind": "ping"}).json()["id"]
    problem(client.get(f"/jobs/{other}/audio"), 404, "unknown_stt")


def by_link(url: str, path: str, **headers: str) -> httpx.Response:
    return httpx.get(url.removesuffix("/api/v1") + path, headers=headers, trust_env=False)


def test_a_link_plays_one_recording_without_a_key_until_the_key_is_revoked(
    url: str, people: People, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    made = people.key("listener")
    with people.with_secret(made.secret) as listener:
        jobs = []
        for _ in range(2):
            blob = listener.post("/blobs", content=CONTENT).json()["id"]
            answer = listener.post("/stt", json={"blob": blob}, headers={"Prefer": "respond-async"})
            jobs.append(answer.json()["id"])
            stored = PlaybackFiles(Files(settings), jobs[-1])
            stored.keep(Playback(media_type="audio/wav", transcoded=False, duration_s=1))
        link = listener.get(f"/jobs/{jobs[0]}/audio/link").json()
    with caplog.at_level("INFO", logger="uvicorn.access"):
        part = by_link(url, link["url"], Range="bytes=4-")
    assert part.status_code == 206 and part.content == CONTENT[4:] and link["media_type"] == "audio/wav"
    assert made.secret not in link["url"] and part.headers["cache-control"] == "no-store"
    signature = link["url"].partition("signature=")[2]
    assert caplog.text and signature not in caplog.text

    spoiled = {
        "another recording": link["url"].replace(jobs[0], jobs[1]),
        "another path": link["url"].replace("/audio?", "/audio/peaks?"),
        "another key": link["url"].replace(made.key.id, "key_operator"),
        "another time": link["url"].replace("expires=", "expires=1"),
        "another signature": link["url"][:-1] + ("0" if link["url"][-1] != "0" else "1"),
    }
    for what, path in spoiled.items():
        assert by_link(url, path).status_code == 401, what
    people.keys.revoke(made.key.id)
    problem(by_link(url, link["url"]), 401, "link_ended")


def test_a_link_ends_by_itself(url: str, ready: str, settings: Settings) -> None:
    path = f"/api/v1/jobs/{ready}/audio"
    now = int(time.time())
    for expires in (now - 1, now + links.LIFE_S + 60):  # one that lasts longer than links do was not made here
        problem(by_link(url, links.Link(path, "key_operator", expires).url(settings)), 401, "link_ended")


def test_a_request_by_a_link_gets_a_part_of_bounded_size(
    url: str, client: httpx.Client, ready: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(playback, "PART_BYTES", 1000)
    part = by_link(url, client.get(f"/jobs/{ready}/audio/link").json()["url"], Range="bytes=100-")
    assert part.content == CONTENT[100:1100]
    assert part.headers["content-range"] == f"bytes 100-1099/{len(CONTENT)}"
