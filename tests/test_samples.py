"""The recordings in samples/, read by stock tools: every format decodes, and the shipped model hears what is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import jiwer
import numpy as np
import pytest

from milo.training.scoring import normalise_for_scoring

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "samples"
MODEL = ROOT / "milo" / "assets" / "models" / "milo-tiny-mg"
REFERENCES = dict(
    line.split("\t") for line in (SAMPLES / "references.tsv").read_text(encoding="utf-8").splitlines() if line
)
SHORT = sorted(name for name in REFERENCES if not name.startswith("20-"))


def decoded(name: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Mono float32 at 16 kHz."""
    resampler = av.AudioResampler("flt", "mono", 16_000)
    with av.open(SAMPLES / name) as source:
        pieces = [p.to_ndarray()[0] for f in source.decode(audio=0) for p in resampler.resample(f)]
    return np.concatenate([*pieces, *(p.to_ndarray()[0] for p in resampler.resample(None))])


@pytest.fixture(scope="module")
def recognise() -> Any:
    import torch
    from transformers import pipeline

    torch.set_num_threads(1)
    return pipeline("automatic-speech-recognition", model=str(MODEL), device="cpu", dtype=torch.float32)


def test_every_sample_has_a_reference_and_they_are_small() -> None:
    files = {f.name for f in SAMPLES.iterdir() if f.suffix not in (".tsv", ".md")}
    assert files == set(REFERENCES)
    assert sum(f.stat().st_size for f in SAMPLES.iterdir()) < 5_000_000
    assert len(SHORT) >= 12


@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_a_sample_decodes_to_sound(name: str) -> None:
    audio = decoded(name)
    assert 1 < len(audio) / 16_000 < 300
    assert np.abs(audio).max() > 0.1


def test_the_shipped_model_is_whole_and_at_most_six_megabytes() -> None:
    names = {f.name for f in MODEL.iterdir()}
    assert {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "README.md"} <= names
    assert sum(f.stat().st_size for f in MODEL.iterdir()) <= 6_000_000


def test_the_stock_pipeline_writes_down_the_short_samples(recognise: Any) -> None:
    heard = [
        recognise({"raw": decoded(name), "sampling_rate": 16_000}, generate_kwargs={"language": "mg"})["text"]
        for name in SHORT
    ]
    wanted = [normalise_for_scoring(REFERENCES[name]) for name in SHORT]
    assert jiwer.wer(wanted, [normalise_for_scoring(text) for text in heard]) < 0.15


def test_the_stock_pipeline_finds_the_language_and_keeps_silence_empty(recognise: Any) -> None:
    said = recognise({"raw": decoded(SHORT[0]), "sampling_rate": 16_000}, return_language=True, return_timestamps=True)
    assert said["chunks"][0]["language"] in ("malagasy", "mg")
    noise = np.random.default_rng(0).standard_normal(48_000).astype(np.float32) * 0.01
    for silent in (np.zeros(48_000, dtype=np.float32), noise):
        assert recognise({"raw": silent, "sampling_rate": 16_000})["text"].strip() == ""
