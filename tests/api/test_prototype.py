"""What the user's earlier client, dashboards and Prometheus send and read works against Milo unchanged."""

from __future__ import annotations

import base64
import re
import time
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from milo.errors import EngineError
from milo.jobs import Job
from milo.ledger import Ledger
from milo.ledger.store import Claim
from milo.settings import Settings
from milo.storage.files import Files
from tests.api.conftest import KEY, problem, transcript
from tests.support.audio_factory import wav
from tests.support.conversation_worker import calling, speech, working
from tests.support.servers import api_in_thread, wait_until


def claimed(ledger: Ledger) -> Claim:
    """The next job, once it is there."""
    claims: list[Claim] = []

    def claim() -> bool:
        queued = [job for job in ledger.jobs() if job.state == "queued"]
        claims.extend(one for job in queued if (one := ledger.claim(job.id, "test-worker")))
        return bool(claims)

    wait_until(claim, "no job was made")
    return claims[0]


def test_a_prometheus_of_an_allowed_network_needs_no_key(settings: Settings) -> None:
    for allowed, status in ((["127.0.0.0/8"], 200), ([], 401), (["10.0.0.0/8"], 401)):
        with api_in_thread(settings.model_copy(update={"metrics_allow": allowed})) as url:
            for path in ("/metrics", "/api/v1/metrics"):
                assert httpx.get(url + path, trust_env=False).status_code == status
            assert httpx.get(f"{url}/status", trust_env=False).status_code == 401, "it opens nothing else"
            wrong = {"Authorization": "Bearer wrong"}
            assert httpx.get(f"{url}/metrics", headers=wrong, trust_env=False).status_code == 401


def test_the_metrics_of_his_board_are_there(url: str, client: httpx.Client) -> None:
    client.get("/jobs")
    text = httpx.get(f"{url}/metrics", headers={"Authorization": f"Bearer {KEY}"}, trust_env=False).text
    assert re.search(r'^milo_requests_total\{status="200"\} ', text, re.MULTILINE)
    assert "milo_request_duration_seconds_bucket{" in text and "milo_active_sessions 0.0" in text
    for name in ("milo_llm_requests_total", "milo_llm_fallback_total", "milo_pipeline_stage_duration_seconds"):
        assert f"# TYPE {name} " in text
    for name in ("milo_gpu_vram_used_bytes", "milo_models_loaded"):
        assert f"# TYPE {name} gauge" in text


@pytest.mark.parametrize(("path", "accept"), [("/", "application/json"), ("/redoc", "text/html")])
def test_the_old_ways_lead_to_the_documentation(path: str, accept: str, shared_url: str) -> None:
    answer = httpx.get(shared_url + path, headers={"Accept": accept}, trust_env=False, follow_redirects=True)
    assert answer.status_code == 200 and answer.url.path == "/docs" and "swagger" in answer.text


def test_a_model_that_can_not_serve_is_said_at_once_and_everywhere(settings: Settings, tmp_path: Path) -> None:
    missing = {"chat_model": str(tmp_path / "mistral.gguf"), "tts_model": str(tmp_path / "mms")}
    (tmp_path / "Mistral.gguf").write_bytes(b"GGUF")
    bad = settings.model_copy(update={**missing, "anthropic_api_key": "sk-ant-xxxxx"})
    with api_in_thread(bad) as url:
        headers = {"Authorization": f"Bearer {KEY}"}
        with httpx.Client(base_url=f"{url}/api/v1", headers=headers, trust_env=False) as client:
            began = time.monotonic()
            chat = problem(client.post("/chat", json={"message": "Salama"}), 503, "no_model")
            speech_ = problem(client.post("/tts", json={"text": "Salama"}), 503, "model_unavailable")
            assert time.monotonic() - began < 5
            assert "MILO_CHAT_MODEL" in chat["detail"] and "Did you mean Mistral.gguf?" in chat["detail"]
            assert "MILO_TTS_MODEL" in speech_["detail"]
            health = client.get("/health").json()
            status = client.get("/status").json()["models"]
            listed = {one["name"]: one for one in client.get("/models").json()["items"] if one["default"]}
        check = health["checks"]["models"]
        assert health["status"] == "degraded" and not check["ok"]
        assert "MILO_CHAT_MODEL" in check["detail"] and "MILO_TTS_MODEL" in check["detail"]
        assert str(tmp_path) not in check["detail"]
        assert {one["use"]: one["ok"] for one in status} == {
            "stt": True,
            "tts": False,
            "translate": True,
            "chat": False,
        }
        assert listed["mistral"]["available"] is False and "Mistral.gguf" in listed["mistral"]["problem"]


def test_a_job_that_is_tried_again_carries_its_last_error(client: httpx.Client, ledger: Ledger) -> None:
    job_id = client.post("/jobs", json={"kind": "ping"}).json()["id"]
    claim = ledger.claim(job_id, "test-worker")
    assert claim
    ledger.release(claim, retry=True, error=EngineError("the card fell off the bus"))
    document = client.get(f"/jobs/{job_id}").json()
    assert document["state"] == "queued" and document["error"]["detail"] == "the card fell off the bus"
    again = ledger.claim(job_id, "test-worker")
    assert again
    ledger.finish(again, {})
    assert client.get(f"/jobs/{job_id}").json()["error"] is None


def ended(ledger: Ledger, result: dict[str, Any], **more: Any) -> Job:
    return ledger.finish(claimed(ledger), result, **more)


def test_his_transcription_is_taken_and_has_the_duration_he_reads(client: httpx.Client, ledger: Ledger) -> None:
    worker = Thread(target=ended, args=(ledger, transcript("Salama")))
    worker.start()
    sent = {"audio": base64.b64encode(wav(bytes(32_000))).decode(), "format": "wav", "sample_rate": 16000}
    answer = client.post("/stt", json=sent)
    worker.join()
    assert answer.status_code == 200, answer.text
    assert {"text", "language", "confidence", "duration_ms", "processing_ms"} <= answer.json().keys()
    assert answer.json()["duration_ms"] == 1000


@pytest.mark.parametrize("format", ["json", "base64"])
def test_his_speech_comes_as_json(format: str, client: httpx.Client, ledger: Ledger, settings: Settings) -> None:
    name = Files(settings).write_result("job_speech", 1, b"RIFF", "wav")
    result = {"format": "wav", "sample_rate_hz": 22050, "duration_s": 0.5}
    worker = Thread(target=ended, args=(ledger, result), kwargs={"result_file": name})
    worker.start()
    answer = client.post("/tts", json={"text": "Salama", "format": format})
    worker.join()
    document = answer.json()
    assert answer.status_code == 200 and base64.b64decode(document["audio"]) == b"RIFF"
    assert (document["format"], document["sample_rate"]) == ("wav", 22050) and document["processing_ms"] > 0


@pytest.mark.parametrize(
    ("sent", "languages"),
    [
        ({}, ("mg", "fr")),
        ({"target": "mg"}, ("fr", "mg")),
        ({"source": "fr"}, ("fr", "mg")),
        ({"target": "en"}, ("mg", "en")),
    ],
)
def test_a_translation_is_from_malagasy_into_french_where_nothing_is_said(
    sent: dict[str, str], languages: tuple[str, str], client: httpx.Client, ledger: Ledger
) -> None:
    headers = {"Prefer": "respond-async"}
    answer = client.post("/translate", json={"text": "Salama", **sent}, headers=headers)
    payload = ledger.get(answer.json()["id"]).payload
    assert (payload["source"], payload["target"]) == languages


def test_his_socket_gets_final_transcripts_only_and_the_names_it_reads(settings: Settings, ledger: Ledger) -> None:
    settings = settings.model_copy(update={"conversation_silence_s": 1.0})
    with working(settings, ledger), api_in_thread(settings) as url, calling(url, KEY) as caller:
        caller.say(speech(0) + speech(1))
        caller.say(bytes(2 * 16_000 * 2))
        caller.until("turn_end")
        heard = [event for event in caller.events if event["type"] == "transcript"]
        assert [event["partial"] for event in heard] == [False]
        mode = next(event for event in caller.events if event["type"] == "mode")
        assert mode["value"] == mode["mode"]
        caller.send("nonsense")
        error = caller.until("error")
        assert error["error"] == error["detail"]


def test_the_zip_of_a_batch_is_documented(shared_url: str) -> None:
    paths = httpx.get(f"{shared_url}/openapi.json", trust_env=False).json()["paths"]
    content = paths["/api/v1/batches/{batch_id}/results"]["get"]["responses"]["200"]["content"]
    assert content["application/zip"]["schema"]["format"] == "binary" and "application/jsonl" in content
