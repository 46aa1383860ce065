"""A speech set of made-up speakers: Malagasy sentences by eSpeak NG, each speaker with a timbre and a noise level."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from milo.audio.encode import encode
from milo.audio.resample import resample
from milo.engines.speech import espeak
from milo.protocols import Samples

RATE_HZ = 16_000
SHORT = ("Manao ahoana tompoko.", "Aiza ny tsena?", "Misaotra betsaka.", "Veloma.", "Tonga ny vary.", "Inona izany?")


@dataclass(frozen=True)
class Speaker:
    name: str
    variant: str | None
    sentences: tuple[str, ...]
    noise: float = 0.0
    """RMS of white noise in the recording."""
    silence_s: float = 0.0
    """At both ends."""


@lru_cache(maxsize=256)
def said(text: str, variant: str | None = None) -> Samples:
    """float32 at 16 kHz."""
    speech = espeak.synthesize_malagasy(text, variant=variant, rate_wpm=150)
    return resample(speech.samples.astype(np.float32) / 32768, speech.sample_rate, RATE_HZ)


def write_voices(folder: Path, speakers: tuple[Speaker, ...]) -> Path:
    """metadata.jsonl and wav files, speakers in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    rng = np.random.default_rng(0)
    for turn in itertools.zip_longest(*([(s, text) for text in s.sentences] for s in speakers)):
        for speaker, text in filter(None, turn):
            quiet = np.zeros(round(speaker.silence_s * RATE_HZ), np.float32)
            samples = np.concatenate([quiet, said(text, speaker.variant), quiet])
            samples = samples + speaker.noise * rng.standard_normal(len(samples), dtype=np.float32)
            name = f"{len(rows):03}.wav"
            (folder / name).write_bytes(encode(samples, RATE_HZ, "wav"))
            rows.append({"file_name": name, "text": text, "speaker": speaker.name})
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "metadata.jsonl").write_text(lines, encoding="utf-8")
    return folder
