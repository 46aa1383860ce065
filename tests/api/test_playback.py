"""A recording by HTTP ranges, and its waveform; both under the job's owner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

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
