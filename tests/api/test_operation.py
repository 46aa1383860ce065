"""Health, metrics, documentation, and how the server behaves when something around it is away."""

from __future__ import annotations

import base64
import json
import os
import signal
import time
from pathlib import Path

import httpx
import psutil
import pytest
import redis

from api.app import create_app
from milo.ledger import Ledger
from milo.monitoring import redis_state
from milo.settings import Settings
from tests.api.conftest import KEY, finish, problem, transcript
from tests.milo.monitoring.conftest import card
from tests.support.servers import api_process, redis_server, wait_until

HEADERS = {"Authorization": f"Bearer {KEY}"}
RESIDENT_BYTES = 150 * 1000**2


def alive(client: redis.Redis, node: str, queues: list[str]) -> None:
    """What a worker's parent does every few seconds."""
    client.set(f"milo:worker:{node}", json.dumps({"node": node, "queues": queues, "pid": 1, "at": time.time()}), ex=20)


ALL_QUEUES = ["gpu.realtime", "gpu.interactive", "gpu.batch", "gpu.background", "cpu", "cpu.batch"]


# --- health -----------------------------------------------------------------------------------------------------------


def test_without_workers_it_is_degraded_and_says_which_queues_nobody_serves(url: str) -> None:
    answer = httpx.get(f"{url}/api/v1/health", trust_env=False)
    document = answer.json()
    assert answer.status_code == 200 and document["status"] == "degraded" and document["mode"] == "local"
    assert not document["checks"]["workers"]["ok"] and "gpu.realtime" in document["checks"]["workers"]["detail"]
    for name in ("redis", "database", "webhooks", "storage"):
        assert document["checks"][name]["ok"], document["checks"][name]
    assert document["models_loaded"] == [] and document["version"]


def test_with_workers_it_is_healthy_and_names_the_models_in_memory(
    url: str, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_state, "read_gpus", lambda: redis_state.GpuReading((card(60),)))
    alive(redis_client, "gpu@here", ALL_QUEUES)
    engine = {"models": [{"name": "speech@1", "bytes": 5}], "vram_allocated_bytes": 1_560_000_000, "at": time.time()}
    redis_client.hset("milo:engines", "gpu@here/0", json.dumps(engine))
    redis_client.hset("milo:engines", "gpu@gone/0", json.dumps(engine | {"models": [{"name": "old@1", "bytes": 5}]}))
    document = httpx.get(f"{url}/api/v1/health", trust_env=False).json()
    assert document["status"] == "healthy" and document["models_loaded"] == ["speech@1"]
    assert document["redis_connected"] is True and document["mode"] == "local"
    memory = {"allocated_gb": 1.56, "reserved_gb": 16.57, "total_gb": 17.09, "free_gb": 0.53}
    assert document["vram"] == {"available": True, **memory}


def test_without_a_card_no_memory_of_one_is_reported(url: str, redis_client: redis.Redis) -> None:
    alive(redis_client, "gpu@here", ALL_QUEUES)
    engine = {"models": [{"name": "speech@1", "bytes": 5}], "vram_allocated_bytes": 1_560_000_000, "at": time.time()}
    redis_client.hset("milo:engines", "gpu@here/0", json.dumps(engine))
    names = ("allocated_gb", "reserved_gb", "total_gb", "free_gb")
    vram = httpx.get(f"{url}/api/v1/health", trust_env=False).json()["vram"]
    assert vram == {"available": False, **dict.fromkeys(names)}


def test_a_redis_that_forgets_gets_a_warning(url: str) -> None:
    check = httpx.get(f"{url}/api/v1/health", trust_env=False).json()["checks"]["redis"]
    assert check["ok"] and any("appendonly" in warning for warning in check["warnings"])


def test_a_disk_that_runs_low_is_degraded_and_a_full_one_is_down(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.routes.health.CACHE_S", 0.0)
    monkeypatch.setattr("milo.monitoring.space.LOW_DISK_BYTES", 1 << 60)
    low = httpx.get(f"{url}/api/v1/health", trust_env=False)
    assert low.status_code == 200 and low.json()["status"] == "degraded"
    assert "too little" in low.json()["checks"]["storage"]["detail"]
    monkeypatch.setattr("milo.monitoring.health.FULL_DISK_BYTES", 1 << 60)
    full = httpx.get(f"{url}/api/v1/health", trust_env=False)
    assert full.status_code == 503 and full.json()["status"] == "down"


def test_health_tells_strangers_no_path_of_this_machine(
    url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.routes.health.CACHE_S", 0.0)
    whole = httpx.get(f"{url}/api/v1/health", trust_env=False)
    monkeypatch.setattr("os.access", lambda *_: False)
    not_writable = httpx.get(f"{url}/api/v1/health", trust_env=False)
    monkeypatch.setattr("shutil.disk_usage", lambda path: open(path))
    broken = httpx.get(f"{url}/api/v1/health", trust_env=False)
    assert [one.status_code for one in (whole, not_writable, broken)] == [200, 503, 503]
    for answer in (whole, not_writable, broken):
        assert "checks" in answer.json() and str(settings.home) not in answer.text


# --- when something is away -------------------------------------------------------------------------------------------


def test_without_redis_work_is_refused_and_the_rest_goes_on(settings: Settings, ledger: Ledger) -> None:
    with redis_server() as url:
        away = settings.model_copy(update={"redis_url": url})
        with api_process(away) as (base, _), httpx.Client(base_url=f"{base}/api/v1", headers=HEADERS) as client:
            job_id = client.post("/jobs", json={"kind": "ping"}).json()["id"]
            _kill_redis(url)
            for refused in (
                client.post("/jobs", json={"kind": "ping"}),
                client.post("/stt", json={"audio": "UklGRg=="}),
                client.post("/stt", files={"file": ("a.wav", b"RIFF")}),
                client.post("/batches", files={"file": ("a.wav", b"RIFF")}),
            ):
                problem(refused, 503, "redis_down")
                assert int(refused.headers["retry-after"]) >= 1
            problem(client.post("/stt", json={"audio": "UklGRg==", "beam_size": 0}), 422)
            assert len(ledger.jobs()) == 1
            down = client.get("/health")
            assert down.status_code == 503 and down.json()["status"] == "down"
            assert client.get(f"/jobs/{job_id}").json()["state"] == "queued"
            assert client.post("/blobs", content=b"RIFF").status_code == 201
            assert "milo_redis_up 0.0" in client.get("/metrics").text
            finish(ledger, job_id, {"pong": True})  # nobody can tell the API: it looks by itself
            assert client.get(f"/jobs/{job_id}?wait=20").json()["state"] == "succeeded"


def _kill_redis(url: str) -> None:
    try:
        redis.Redis.from_url(url).shutdown(nosave=True)
    except redis.ConnectionError:
        pass


def test_a_hung_redis_is_a_503_too(settings: Settings) -> None:
    with redis_server() as url:
        pid = redis.Redis.from_url(url).info("server")["process_id"]
        with api_process(settings.model_copy(update={"redis_url": url})) as (base, _):
            os.kill(pid, signal.SIGSTOP)
            try:
                answer = httpx.post(f"{base}/api/v1/jobs", json={"kind": "ping"}, headers=HEADERS, timeout=10)
            finally:
                os.kill(pid, signal.SIGCONT)
            problem(answer, 503, "redis_down")


def test_told_to_stop_it_ends_while_clients_wait(settings: Settings) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with api_process(settings) as (base, process), ThreadPoolExecutor(2) as pool:
        job_id = httpx.post(f"{base}/api/v1/jobs", json={"kind": "ping"}, headers=HEADERS).json()["id"]
        waiting = pool.submit(httpx.get, f"{base}/api/v1/jobs/{job_id}?wait=100", headers=HEADERS, timeout=120)
        watching = pool.submit(httpx.get, f"{base}/api/v1/jobs/{job_id}/events", headers=HEADERS, timeout=120)
        counted = 'milo_http_requests_total{method="POST",route="/api/v1/jobs",status="202"} 1.0'
        wait_until(lambda: counted in httpx.get(f"{base}/metrics", headers=HEADERS).text, "the job is not counted")
        wait_until(lambda: len(psutil.Process(process.pid).net_connections("tcp")) >= 4, "nobody waits yet")
        process.terminate()
        assert waiting.result().json()["state"] == "queued"
        watching.result()
        process.wait(20)


# --- metrics and documentation ----------------------------------------------------------------------------------------


def test_metrics_tell_queues_jobs_and_requests_by_route(client: httpx.Client, url: str, ledger: Ledger) -> None:
    job_id = client.post("/jobs", json={"kind": "ping"}).json()["id"]
    client.get(f"/jobs/{job_id}")
    client.get("/no/such/path")
    text = httpx.get(f"{url}/metrics", headers=HEADERS, trust_env=False).text
    for line in (
        'milo_queue_depth{queue="gpu.interactive"} 1.0',
        'milo_jobs{queue="gpu.interactive",state="queued"} 1.0',
        'milo_http_requests_total{method="GET",route="/api/v1/jobs/{job_id}",status="200"}',
        'route="unmatched",status="404"',
        "milo_build_info{version=",
        "milo_redis_up 1.0",
        "milo_http_request_seconds_bucket",
    ):
        assert line in text, line
    assert job_id not in text and "no/such" not in text


def test_counters_of_every_process_are_merged(settings: Settings, tmp_path: Path) -> None:
    shared = tmp_path / "metrics"
    shared.mkdir()
    with api_process(settings, PROMETHEUS_MULTIPROC_DIR=str(shared)) as (base, _):
        httpx.get(f"{base}/api/v1/jobs", headers=HEADERS)
        with api_process(settings, PROMETHEUS_MULTIPROC_DIR=str(shared)) as (other, _):
            httpx.get(f"{other}/api/v1/jobs", headers=HEADERS)
            text = httpx.get(f"{base}/metrics", headers=HEADERS).text
    assert 'milo_http_requests_total{method="GET",route="/api/v1/jobs",status="200"} 2.0' in text
    assert "milo_queue_depth" in text


def test_the_documentation_needs_no_network(url: str) -> None:
    page = httpx.get(f"{url}/docs", trust_env=False)
    assert page.status_code == 200 and "https://" not in page.text
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"):
        assert f"/docs/assets/{asset}" in page.text
        assert httpx.get(f"{url}/docs/assets/{asset}", trust_env=False).status_code == 200


def test_every_route_documents_its_problems_and_every_reference_resolves(settings: Settings) -> None:
    document = create_app(settings).openapi()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation.get("summary"), (method, path)
            if path == "/api/v1/health":
                continue
            for status in ("401", "403", "429", "503"):
                content = operation["responses"][status]["content"]
                kind = "application/json" if path.startswith("/v1/") else "application/problem+json"
                assert kind in content, (method, path, status)
            if "{" in path:
                assert "404" in operation["responses"], (method, path)
            if "requestBody" in operation:
                assert {"413"} <= set(operation["responses"]), (method, path)
    known = document["components"]["schemas"]
    for reference in _references(document):
        assert reference.removeprefix("#/components/schemas/") in known, reference


def _references(node: object) -> list[str]:
    if isinstance(node, dict):
        found = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return found + [one for value in node.values() for one in _references(value)]
    return [one for value in node for one in _references(value)] if isinstance(node, list) else []


def test_a_page_of_another_origin_may_ask_only_if_it_is_allowed(settings: Settings) -> None:
    from tests.support.servers import api_in_thread

    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    with api_in_thread(settings.model_copy(update={"cors_origins": ["https://app.example"]})) as base:
        answer = httpx.options(f"{base}/api/v1/jobs", headers=asked, trust_env=False)
        assert answer.status_code == 200 and answer.headers["access-control-allow-origin"] == "https://app.example"
        other = httpx.options(
            f"{base}/api/v1/jobs", headers=asked | {"Origin": "https://evil.example"}, trust_env=False
        )
        assert "access-control-allow-origin" not in other.headers


def test_models_tell_what_they_are_for_and_which_voices_they_have(client: httpx.Client) -> None:
    found = {one["name"]: one for one in client.get("/models").json()["items"]}
    voice, chat, words = found["espeak"], found["smollm2-135m"], found["milo-tiny-nllb"]
    assert voice["use"] == "tts" and voice["default"] and {"f1", "m1"} <= set(voice["voices"])
    assert voice["languages"][:3] == ["mg", "fr", "en"] and voice["available"]
    assert chat["use"] == "chat" and chat["default"] and words["use"] == "translate" and words["default"]


# --- the process ------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(120)
def test_the_web_process_is_small_and_holds_no_torch(settings: Settings, ledger: Ledger) -> None:
    with api_process(settings) as (base, process), httpx.Client(base_url=f"{base}/api/v1", headers=HEADERS) as client:
        job_id = client.post("/stt", json={"audio": "UklGRg=="}, headers={"Prefer": "respond-async"}).json()["id"]
        finish(ledger, job_id, transcript("eny"))
        assert client.get(f"/jobs/{job_id}/result?format=srt").status_code == 200
        large = base64.b64encode(bytes(20_000_000)).decode()
        answer = client.post("/stt", json={"audio": large}, headers={"Prefer": "respond-async"})
        assert answer.status_code == 202 and answer.json()["payload"]["source"]["blob"]
        for path in ("/models", "/health", "/metrics", "/jobs"):
            assert client.get(path).status_code == 200
        assert httpx.get(f"{base}/openapi.json").status_code == 200
        libraries = Path(f"/proc/{process.pid}/maps").read_text()
        for heavy in ("libtorch", "ctranslate2", "onnxruntime", "libavcodec"):
            assert heavy not in libraries, heavy
        assert psutil.Process(process.pid).memory_info().rss <= RESIDENT_BYTES
