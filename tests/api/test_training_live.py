"""A training beside the rest of the house on one worker: it gives way to a person, and outlives its worker."""

from __future__ import annotations

import io
import os
import signal
from pathlib import Path

import psutil
import pytest
import soundfile
import yaml

from milo.training import runs
from tests.api.house import House
from tests.support.servers import wait_until
from tests.support.speech_factory import spoken
from tests.trainer.whisper.whisper_runs import losses, make_data, make_model, recipe


@pytest.mark.timeout(600)
def test_a_training_gives_way_to_a_person_and_survives_its_worker(house: House, tmp_path: Path) -> None:
    made = recipe(make_model(tmp_path / "model"), make_data(tmp_path / "data"), max_steps=80, eval_steps=80)
    made = made.model_copy(update={"training": made.training.model_copy(update={"save_steps": 10, "keep_last": 2})})
    wav = io.BytesIO()
    soundfile.write(wav, spoken(0), 16_000, format="WAV")
    with house.client() as client:
        text = yaml.safe_dump(made.model_dump(mode="json"))
        job_id = client.post("/trainings", content=text, headers={"content-type": "application/yaml"}).json()["id"]

        def at(step: int) -> bool:
            found = client.get(f"/trainings/{job_id}").json()
            assert found["state"] in ("queued", "running"), found["error"]
            return bool(found["run"] and found["run"]["summary"].get("step", 0) >= step)

        wait_until(lambda: at(1), "the training did not begin", 90)
        heard = client.post("/stt", files={"file": ("a.wav", wav.getvalue(), "audio/wav")}).json()
        assert heard["text"], "nothing was transcribed while the training ran"
        slices = client.get(f"/jobs/{job_id}").json()["slices"]
        assert slices >= 1, "the training did not give way"
        wait_until(lambda: at(20), "the training did not go on", 90)
        for process in gpu_children(house):
            os.kill(process.pid, signal.SIGKILL)
        job = client.get(f"/jobs/{job_id}", params={"wait": 170}, timeout=180).json()
    assert job["state"] == "succeeded", job["error"]
    run = runs.find(house.settings, job_id)
    assert run is not None and list(losses(run)) == list(range(1, 81))


def gpu_children(house: House) -> list[psutil.Process]:
    """The children that run jobs of the GPU worker."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        try:
            mine = process.environ().get("MILO_HOME") == str(house.settings.home)
        except psutil.Error:
            continue
        if mine and "gpu.background" in line:
            found += [child for child in process.children() if "spawn_main" in " ".join(child.cmdline())]
    assert found, "the GPU worker has no child"
    return found
