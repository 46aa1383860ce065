"""What a path does not know in its query is refused; HEAD is GET without the body; a recording may be the body."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.api.house import House

SAMPLES = Path(__file__).parents[2] / "samples"


@pytest.mark.parametrize("path", ["/jobs?status=failed", "/jobs?stat=queued&limit=3", "/models?x=1", "/health?a=b"])
def test_an_unknown_query_parameter_is_refused(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 422 and answer.json()["code"] == "unknown_parameter"
    name = path.split("?")[1].split("=")[0]
    assert name in answer.json()["detail"] and answer.json()["errors"][0]["parameter"] == name


def test_a_known_query_parameter_is_not(client: httpx.Client) -> None:
    assert client.get("/jobs?state=failed&limit=3").status_code == 200


@pytest.mark.parametrize("path", ["/health", "/jobs", "/models", "/jobs/job_0123"])
def test_head_is_get_without_the_body(client: httpx.Client, path: str) -> None:
    head, get = client.head(path), client.get(path)
    assert head.status_code == get.status_code and head.content == b""
    assert head.headers["content-type"] == get.headers["content-type"]


def test_head_of_a_path_that_only_takes_post_is_not_allowed(client: httpx.Client) -> None:
    assert client.head("/tts").status_code == 405


def test_errors_name_fields_and_no_function(client: httpx.Client) -> None:
    for path, body in (
        ("/chat", {"message": "Salama", "session_id": 5, "voice": []}),
        ("/tts", {"text": "Salama", "voice": 5, "model": {}}),
        ("/stt", {"audio": 5, "language": [1]}),
        ("/translate", {"text": 5, "texts": {"a": 1}, "source": 1, "target": 2}),
        ("/batches", {"kind": "stt", "items": [{"blob": 5}]}),
    ):
        answer = client.post(path, json=body)
        assert answer.status_code == 422, answer.text
        for word in ("function", "functools", "<", "constrained", "[", "partial"):
            for error in answer.json()["errors"]:
                assert word not in error["pointer"], answer.text


def test_a_recording_may_be_the_body(house: House) -> None:
    audio = (SAMPLES / "01-mono-16k.wav").read_bytes()
    headers = {"Content-Type": "audio/wav", "Prefer": "wait=60"}
    with house.client() as client:
        answer = client.post("/stt?language=mg&name=feo.wav", content=audio, headers=headers)
        assert answer.status_code == 200 and answer.json()["text"], answer.text
        form = client.post(
            "/stt", files={"file": ("feo.wav", audio)}, data={"language": "mg"}, headers={"Prefer": "wait=60"}
        )
        assert answer.json()["text"] == form.json()["text"]
        wrong = client.post("/stt?language=xx", content=audio, headers=headers)
        assert wrong.status_code == 422 and wrong.json()["code"] == "unknown_language"
        empty = client.post("/stt", content=b"", headers=headers)
        assert empty.json()["code"] == "empty_audio"
        mixed = client.post("/stt?language=mg", json={"audio": ""})
        assert mixed.status_code == 422 and "query" in mixed.json()["detail"]
