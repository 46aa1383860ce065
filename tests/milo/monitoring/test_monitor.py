"""The status API on its own port and under the API: the monitor's lines work as written, and who may ask."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
import redis
import uvicorn

from api.status.monitor import create_monitor, is_open
from milo.ledger import Ledger
from milo.ledger.keys import Keys
from milo.settings import Settings
from milo.stack.ports import free_port
from tests.milo.monitoring.conftest import alive, new_training, run_of
from tests.support.servers import ROOT, api_in_thread, environment, wait_until

KEY = "the-operators-key-of-the-tests"
JQ = (
    "{phase, step: .training.step, total: .training.total_steps, pct: .training.pct, eta: .training.eta, "
    "loss: .training.last_loss, gpu_pct: .gpu.gpu_util_pct, temp: .gpu.temp_c, fixes: .auto_fixes}"
)
"""The filter of the line that the monitor was given, to the letter."""


@contextmanager
def monitor(settings: Settings) -> Iterator[str]:
    """The real status API on a free port. Yields its URL."""
    port = free_port()
    config = uvicorn.Config(create_monitor(settings), host="127.0.0.1", port=port, log_level="warning", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started or not thread.is_alive(), "the monitor did not start")
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.fixture
def keyed(settings: Settings, ledger: Ledger) -> Settings:
    return settings.model_copy(update={"api_key": KEY})


def get(url: str, key: str | None = None) -> httpx.Response:
    return httpx.get(url, headers={"Authorization": f"Bearer {key}"} if key else {}, trust_env=False, timeout=30)


def test_the_monitors_line_works_to_the_letter(
    keyed: Settings, ledger: Ledger, heat: Callable[[float | None], None], redis_client: redis.Redis
) -> None:
    heat(71)
    alive(redis_client)
    job = new_training(ledger)
    run_of(keyed, job, 20)
    assert ledger.claim(job.id, "gpu@here/0")
    wanted = {"phase": "training", "step": 20, "total": 100, "pct": 20, "eta": "3:25:10", "loss": 0.25}
    wanted |= {"gpu_pct": 97, "temp": 71, "fixes": 0}
    with monitor(keyed) as url:
        body = get(f"{url}/status").text
        if shutil.which("jq") and shutil.which("curl"):
            line = f"curl -s {url}/status | jq '{JQ}'"
            shown = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=30, check=True).stdout
            assert json.loads(shown) == wanted
        found = json.loads(body)
        assert found["phase"] == "training" and found["training"]["step"] == 20 and found["gpu"]["temp_c"] == 71
        assert get(f"{url}/gpu").json()["vram_total_mb"] == 16_303
        assert get(f"{url}/training").json()["phase"] == "training"
        assert get(f"{url}/eval").json() == {"state": "none", "results": None}
        answer = get(f"{url}/status")
        assert answer.headers["content-type"] == "application/json" and answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("host", "choice", "is_it"),
    [
        ("127.0.0.1", "auto", True),
        ("::1", "auto", True),
        ("0.0.0.0", "auto", False),
        ("192.168.3.102", "auto", False),
        ("0.0.0.0", "yes", True),
        ("127.0.0.1", "no", False),
    ],
)
def test_it_is_open_on_this_machine_alone_unless_the_setting_says_otherwise(
    settings: Settings, host: str, choice: str, is_it: bool
) -> None:
    assert is_open(settings.model_copy(update={"status_host": host, "status_open": choice})) is is_it


def test_bound_elsewhere_it_asks_for_a_key(keyed: Settings, ledger: Ledger) -> None:
    scoped = Keys(ledger.engine, keyed).create("monitor", ["read"])
    with monitor(keyed.model_copy(update={"status_host": "0.0.0.0"})) as url:
        for path in ("status", "gpu", "training", "eval"):
            refused = get(f"{url}/{path}")
            assert refused.status_code == 401 and refused.json()["code"] == "no_key"
            assert refused.headers["content-type"] == "application/problem+json"
            assert get(f"{url}/{path}", "wrong").status_code == 401
            assert get(f"{url}/{path}", scoped.secret).status_code == get(f"{url}/{path}", KEY).status_code == 200


def test_it_tells_browsers_to_run_nothing_and_stops_who_guesses_keys(keyed: Settings) -> None:
    with monitor(keyed.model_copy(update={"status_open": "no", "wrong_key_limit": "2/minute"})) as url:
        guesses = [
            httpx.get(f"{url}/fix/history", trust_env=False, headers=elsewhere | {"Authorization": f"Bearer {guess}"})
            for elsewhere in ({"X-Forwarded-For": "203.0.113.9"},)
            for guess in ("one", "two", "three", KEY)
        ]
        assert [answer.status_code for answer in guesses] == [401, 401, 429, 429]
        assert int(guesses[3].headers["retry-after"]) >= 1
        assert guesses[0].headers["x-content-type-options"] == "nosniff"
        assert get(f"{url}/fix/history", KEY).status_code == 200, "this machine is not counted"


def test_what_is_not_there_is_a_problem_document(keyed: Settings) -> None:
    with monitor(keyed) as url:
        answer = get(f"{url}/statu")
        assert answer.status_code == 404 and "/status" in answer.json()["detail"]
        assert httpx.post(f"{url}/status", trust_env=False).status_code == 405


def test_pages_of_monitors_have_their_paths_there_too(keyed: Settings, ledger: Ledger) -> None:
    with monitor(keyed) as url:
        found = get(f"{url}/api/training")
        assert found.json()["success"] and found.headers["etag"]
        assert not get(f"{url}/api/regression").json()["success"]
        assert get(f"{url}/api/curriculum").status_code == 404
    with monitor(keyed.model_copy(update={"status_open": "no"})) as url:
        assert get(f"{url}/api/training").status_code == 401 and get(f"{url}/api/training", KEY).status_code == 200


def test_fix_asks_for_an_administrator_even_where_reading_is_open(keyed: Settings, ledger: Ledger) -> None:
    reader = Keys(ledger.engine, keyed).create("bot", ["read", "write"])
    with monitor(keyed) as url, httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
        assert get(f"{url}/status").status_code == 200
        problem = {"problem": "slow"}
        assert client.post("/fix", json=problem).status_code == 401
        assert client.get("/fix/history").status_code == 401
        client.headers["Authorization"] = f"Bearer {reader.secret}"
        assert client.post("/fix", json=problem).json()["code"] == "missing_scope"
        client.headers["Authorization"] = f"Bearer {KEY}"
        assert client.post("/fix", content=b"problem=slow").status_code == 400
        assert client.post("/fix", json={"problem": ""}).status_code == 422
        assert client.post("/fix", json={"problem": "x", "command": "ls"}).status_code == 422
        assert client.post("/fix", json={"problem": "x" * 100_000}).status_code == 413
        taken = client.post("/fix", json=problem)
        assert taken.status_code == 202 and taken.headers["location"] == taken.json()["url"]
        wait_until(lambda: client.get(taken.json()["url"]).json()["state"] == "done", "no diagnosis")
        assert [one["id"] for one in client.get("/fix/history").json()["items"]] == [taken.json()["id"]]
        assert client.get("/fix/fix_0").status_code == 404


def test_under_the_api_the_same_documents_need_a_key(keyed: Settings, ledger: Ledger) -> None:
    with api_in_thread(keyed) as url:
        for path in ("status", "gpu", "training", "eval"):
            for where in (f"{url}/{path}", f"{url}/api/v1/{path}"):
                assert get(where).status_code == 401
                assert get(where, KEY).status_code == 200
        assert get(f"{url}/status", KEY).json()["phase"] == "idle"
        for where in (f"{url}/fix/history", f"{url}/api/v1/fix/history"):
            assert get(where).status_code == 401 and get(where, KEY).json() == {"items": []}
        assert get(f"{url}/api/v1/health").json()["alerts"] == ["orchestrator_down"]
        metrics = get(f"{url}/metrics", KEY).text
        assert 'milo_alerts{alert="orchestrator_down",level="critical"} 1.0' in metrics
        assert 'milo_alerts{alert="gpu_hot",level="warning"} 0.0' in metrics
        assert "milo_disk_free_bytes" in metrics and "milo_training_step" not in metrics
        assert 'milo_queue_oldest_job_seconds{queue="cpu"} 0.0' in metrics


def test_a_training_has_its_figures_among_the_metrics(keyed: Settings, ledger: Ledger) -> None:
    job = new_training(ledger)
    run_of(keyed, job, 20)
    with api_in_thread(keyed) as url:
        text = get(f"{url}/metrics", KEY).text
    assert "milo_training_step 20.0" in text and "milo_training_loss 0.25" in text
    assert 'milo_queue_oldest_job_seconds{queue="gpu.background"}' in text


def test_the_process_is_small_and_holds_no_engine(keyed: Settings, ledger: Ledger) -> None:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "api.status.monitor:app", "--port", str(port), "--ws", "none"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment(keyed))
    try:

        def answers() -> bool:
            try:
                return get(f"http://127.0.0.1:{port}/status").status_code == 200
            except httpx.TransportError:
                assert process.poll() is None, "the monitor ended at its start"
                return False

        wait_until(answers, "the monitor did not start", 60)
        libraries = Path(f"/proc/{process.pid}/maps").read_text()
        for heavy in ("libtorch", "ctranslate2", "onnxruntime", "libavcodec", "_multiarray_umath"):
            assert heavy not in libraries, heavy
        assert psutil.Process(process.pid).memory_info().rss <= 100 * 1000**2
    finally:
        process.terminate()
        process.wait(20)
