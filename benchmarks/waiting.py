"""How long a person waits while a training has the card: blocking transcriptions, alone and beside a training.

    python -m benchmarks.waiting [--requests 60]

The recording is a short one, the training that of `docs/recipes/whisper-synthetic.yaml` without judging and saving.
What the training costs a request is compared with one of its steps: the budget is one step and 50 ms. On a machine
without a GPU both share the cores too: while a request is decoded on one, the training may still be on the others.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import yaml

from benchmarks.common import machine, running_stack, save

ROOT = Path(__file__).parent.parent
VOICE = ROOT / "samples" / "01-mono-16k.wav"


def recipe() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "docs/recipes/whisper-synthetic.yaml").read_text())
    document["training"] |= {"max_steps": 5000, "eval_steps": 10**6, "save_steps": 10**6}
    document.pop("deploy")
    return document


def transcribe(client: httpx.Client) -> float:
    """Milliseconds of one blocking transcription."""
    started = time.perf_counter()
    answer = client.post("/stt", files={"file": (VOICE.name, VOICE.read_bytes())})
    assert answer.status_code == 200, answer.text
    return (time.perf_counter() - started) * 1000


def measure(client: httpx.Client, requests: int, rng: random.Random) -> dict[str, float]:
    """Percentiles of requests that come at irregular moments."""
    times = []
    for _ in range(requests):
        time.sleep(rng.uniform(0.1, 0.5))
        times.append(transcribe(client))
    cuts = statistics.quantiles(times, n=20)
    return {"p50_ms": round(cuts[9], 1), "p95_ms": round(cuts[18], 1), "max_ms": round(max(times), 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=60)
    requests, rng = parser.parse_args().requests, random.Random(0)
    report: dict[str, Any] = {"machine": machine(), "requests": requests}
    with tempfile.TemporaryDirectory() as folder, running_stack(Path(folder)) as settings:
        headers = {"Authorization": f"Bearer {settings.api_key}"}
        with httpx.Client(base_url=f"{settings.url}/api/v1", headers=headers, timeout=60, trust_env=False) as client:
            for _ in range(5):
                transcribe(client)
            report["alone"] = measure(client, requests, rng)
            job = client.post("/trainings", json=recipe()).raise_for_status().json()
            run: dict[str, Any] = {}
            while int(run.get("step") or 0) < 20:
                time.sleep(0.5)
                run = (client.get(f"/trainings/{job['id']}").json()["run"] or {}).get("summary", {})
            report["beside a training"] = measure(client, requests, rng)
            run = client.get(f"/trainings/{job['id']}").json()["run"]["summary"]
            report["step_ms"] = round(run["speed_s_per_step"] * 1000, 1)
            report["steps"] = run["step"]
            client.delete(f"/trainings/{job['id']}")
    for name in ("p50_ms", "p95_ms", "max_ms"):
        report.setdefault("more", {})[name] = round(report["beside a training"][name] - report["alone"][name], 1)
    print(json.dumps({name: value for name, value in report.items() if name != "machine"}, indent=2))
    save("waiting", report)


if __name__ == "__main__":
    main()
