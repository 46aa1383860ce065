"""`milo train RECIPE --check` says what a training would learn from, and trains nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from milo.recipes import Recipe
from milo.settings import Settings
from tests.milo.cli.test_cli import run as milo
from trainer.check import check

MODEL = "milo-tiny-mg"
TEXTS = ["Manao ahoana", "Roa amby folo", "Misaotra", "Veloma tompoko", "Manao ahoana"]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    lines = ["path\tsentence\tclient_id\tsplit"]
    for number, text in enumerate(TEXTS):
        samples = np.random.default_rng(number).standard_normal(16_000 if number else 1_600) * 0.1
        soundfile.write(tmp_path / f"{number}.wav", samples, 16_000)
        lines.append(f"{number}.wav\t{text}\ts{number % 3}\t{'test' if number == 4 else 'train'}")
    lines[-1] = lines[-1].replace("Manao ahoana", "Roa amby folo")
    (tmp_path / "a.tsv").write_text("\n".join([*lines, "5.wav\t?\ts1\ttrain"]) + "\n")
    return tmp_path / "a.tsv"


def recipe_of(table: Path) -> dict[str, object]:
    data = {"source": str(table), "validation_share": 0.4}
    return {"name": "a", "task": "whisper", "model": MODEL, "data": data, "training": {"max_steps": 1, "replay": 0}}


def test_rows_hours_speakers_labels_and_leaks_are_told(table: Path, tmp_path: Path) -> None:
    report = check(Settings(home=tmp_path / "home", _env_file=None), Recipe.model_validate(recipe_of(table)))
    assert report.read_as == "a.tsv: audio from 'path', text from 'sentence', speaker from 'client_id'"
    rows = {name: split["items"] for name, split in report.splits.items()}
    assert rows["train"] + rows["validation"] == 3 and rows["test"] == 1
    dropped = {why for split in report.splits.values() for why in split["dropped"]}
    assert {"without text", "shorter than 0.3 s"} <= dropped
    assert report.labels and report.labels[0].startswith("<|mg|><|transcribe|><|notimestamps|> ")
    assert report.labels[0].endswith("<|endoftext|>")
    assert {leak.what for leak in report.leaks} == {"text", "speaker"} and not report.refused


def test_the_command_ends_with_1_where_a_training_would_be_refused(table: Path, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe_of(table)))
    env = {"MILO_HOME": str(tmp_path / "home"), "MILO_URL": "http://127.0.0.1:9"}
    done = milo("train", str(path), "--check", **env)
    assert done.returncode == 0 and "1 of test share their text with" in done.stdout, done.stdout
    (tmp_path / "4.wav").write_bytes((tmp_path / "1.wav").read_bytes())
    done = milo("train", str(path), "--check", "--json", **env)
    document = json.loads(done.stdout)
    assert done.returncode == 1 and "share their audio with" in document["refused"]
