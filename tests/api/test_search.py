"""Search over HTTP."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from milo.client import Milo
from milo.ledger import Ledger
from milo.settings import Settings
from milo.storage.files import Files
from tests.api.conftest import KEY, People, problem
from tests.api.test_transcripts import edit, made
from workers.maintenance import index_transcripts


def test_a_sentence_is_found_again_with_its_time_also_after_an_edit(
    client: httpx.Client, ledger: Ledger, settings: Settings, people: People, url: str
) -> None:
    job_id = made(client, ledger, "salama tompoko", "nanoratra <b>taratasy</b> izy")
    assert index_transcripts(ledger, Files(settings)) == 1
    [hit] = client.get("/search", params={"q": "manoratra TARATASY", "language": "mg"}).json()["items"]
    assert (hit["transcript_id"], hit["text"], hit["start"]) == (job_id, "nanoratra <b>taratasy</b> izy", 1)
    assert edit(client, job_id, 0, "Miarahaba anao").status_code == 201
    [found] = client.get("/search", params={"q": "miaraha", "since": "2020-01-01", "min_confidence": 0.5}).json()[
        "items"
    ]
    assert (found["transcript_id"], found["segment"], found["start"], found["text"]) == (job_id, 0, 0, "Miarahaba anao")
    assert found["highlights"] == [[0, 9]] and found["url"] == f"/api/v1/transcripts/{job_id}"
    with Milo(url, KEY) as milo:
        assert [one["segment"] for one in milo.search("taratasy", batch=found["batch_id"])] == [1]
    with people.client("somebody") as other:
        assert other.get("/search", params={"q": "miaraha"}).json() == {"items": [], "next": None}


@pytest.mark.parametrize(
    "query", ["", "q=", "q=%21", "q=a&since=yesterday", "q=a&limit=1000", "q=a&min_confidence=nan"]
)
def test_a_bad_question_is_a_sentence(query: str, shared_url: str, tmp_path: Path) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    problem(httpx.get(f"{shared_url}/api/v1/search?{query}", headers=headers, trust_env=False), 422)
