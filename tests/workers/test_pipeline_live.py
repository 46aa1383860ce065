"""A real API, a real worker that is killed in the middle of its training, and the command line that watches."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml
from click.testing import CliRunner

from milo.cli import cli
from milo.models import registry
from milo.settings import Settings
from milo.training import runs
from tests.support.servers import api_in_thread, celery_worker, wait_until

KEY = "a-key-for-tests"
QUEUES = "gpu.realtime,gpu.interactive,gpu.batch,gpu.background,cpu,cpu.batch"
RECIPE = {
    "name": "nature",
    "task": "whisper",
    "model": "milo-tiny-mg",
    "data": {
        "source": "synthetic",
        "synthetic": {
            "seed": 1,
            "count": {"train": 60, "validation": 6, "test": 20},
            "speakers": 8,
            "words": ["kankana", "papango", "voay", "bibilava"],
        },
    },
    "training": {
        **{"max_steps": 20, "learning_rate": 5e-4, "batch_audio_s": 24, "batch_size": 12},
        **{"log_steps": 2, "eval_steps": 10, "save_steps": 4, "replay": 0},
    },
    "deploy": {"name": "ours"},
}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    registry.deploy(settings, "ours", registry.resolve(settings, "milo-tiny-mg").path)
    more = {"api_key": KEY, "stt_model": "ours", "device": "cpu", "cpu_threads": 1, "lease_s": 3.0, "slice_s": 2.0}
    return settings.model_copy(update=more)


@pytest.fixture
def client(settings: Settings) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {KEY}"}
    with api_in_thread(settings) as url, httpx.Client(base_url=f"{url}/api/v1", headers=headers, timeout=60) as opened:
        yield opened


def transcribe(client: httpx.Client) -> dict[str, Any]:
    audio = (Path(__file__).parents[2] / "samples" / "01-mono-16k.wav").read_bytes()
    answer = client.post("/stt", files={"file": ("a.wav", audio)}, headers={"Prefer": "wait=60"}, timeout=90)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def milo(client: httpx.Client, *words: str) -> Any:
    url = str(client.base_url).split("/api/")[0]
    done = CliRunner().invoke(cli, [*words, "--url", url, "--api-key", KEY], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def kill_the_child(worker: psutil.Process) -> None:
    """SIGKILL for whoever does the work; the worker above it starts another."""
    (child,) = [one for one in worker.children() if "spawn_main" in " ".join(one.cmdline())]
    os.kill(child.pid, signal.SIGKILL)


@pytest.mark.timeout(360)
def test_killed_in_the_middle_it_lowers_wer_deploys_and_the_next_job_uses_it_without_a_restart(
    settings: Settings, client: httpx.Client, tmp_path: Path
) -> None:
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    with celery_worker(settings, QUEUES) as process:
        worker = psutil.Process(process.pid)
        first = transcribe(client)
        assert first["model"] == registry.resolve(settings, "ours").label
        job_id = milo(client, "pipeline", str(tmp_path / "recipe.yaml")).strip()

        def trained() -> bool:
            run = runs.find(settings, job_id)
            return run is not None and 4 in run.checkpoints()

        wait_until(trained, "there is no checkpoint to go on from", 120)
        kill_the_child(worker)
        killed = client.get(f"/pipelines/{job_id}").json()
        assert killed["stage"] == "train" and killed["progress"]["done"] < 20, "it was killed in the middle"
        deadline = time.monotonic() + 240
        while (job := client.get(f"/pipelines/{job_id}").json())["state"] not in ("succeeded", "failed"):
            assert time.monotonic() < deadline, job
            client.get(f"/jobs/{job_id}?wait=5", timeout=30)
            reconcile(settings)
        assert job["state"] == "succeeded", job["error"]
        result = job["result"]
        assert result["verdict"] == "better" and result["deploy"]["deployed"], result["text"]
        assert result["training"]["step"] == 20
        again = transcribe(client)
        assert again["model"] == f"ours@{result['deploy']['version']}" != first["model"]
        assert client.get(f"/pipelines/{job_id}/summary").text == result["text"]
        assert client.get(f"/pipelines/{job_id}/summary?format=png").content.startswith(b"\x89PNG")

        report = json.loads(milo(client, "eval", "ours", "--data", str(tmp_path / "recipe.yaml"), "--json"))
        assert report["key"] == result["checkpoints"][0]["report"]["key"], "what was judged is what serves"
        base = result["baseline"]["base"]["key"]
        assert "better" in milo(client, "compare", base, report["key"]).splitlines()[0]
        rows = client.get(f"/evaluations/{report['key']}/rows").text.splitlines()
        assert len(rows) == 20 and json.loads(rows[0])["ref"]

        back = client.post("/models/ours/rollback").json()
        assert back["before"] == result["deploy"]["version"]
        assert transcribe(client)["model"] == first["model"]
        told = milo(client, "models", "deploy", "ours", job["run"])
        assert told == f"ours {result['deploy']['version']} (before: {back['version']}; better)\n"
        assert transcribe(client)["model"] == again["model"]


def reconcile(settings: Settings) -> None:
    """What beat does every two seconds."""
    from milo.ledger import Ledger
    from workers.maintenance import reconcile as work

    ledger = Ledger.open(settings)
    work(settings, ledger)
    ledger.engine.dispose()
