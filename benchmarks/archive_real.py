"""A real Whisper on files of 2 to 90 s: Milo's engine against the others, on the same weights, in one run.

    python -m benchmarks.archive_real MODEL RECORDINGS [--count 200] [--engines milo milo-short …]

MODEL: a Whisper of CTranslate2 (`model.bin`, `config.json`, `tokenizer.json`). RECORDINGS: a folder of WAV files of
English speech, each with its text in a .txt beside it. The files are made of them, and of eSpeak saying the same, with
pauses.
whisper.cpp runs where `--whisper-cpp PYTHON` names an interpreter that has pywhispercpp; it and transformers get the
same weights, converted. The engines take turns, a few files each, so that what else the machine does hits all alike;
ratios are of seconds of the processor. The share of the peak: what the encoder alone would take for the same speech in
full windows of 30 s, at the batch size that is best, of what Milo takes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.archive_throughput import word_error_rate
from benchmarks.common import machine, save
from benchmarks.whisper_engines import ENGINES
from benchmarks.whisper_weights import write_ggml, write_transformers

RATE_HZ = 16_000
LENGTHS_S = (0.6, 2, 10), (0.25, 10, 30), (0.15, 30, 90)
"""Share of the files, and the range of their lengths."""
OWN_SHARE = 0.7
"""Of the pieces that are real recordings; the others are eSpeak's."""


def load_recordings(folder: Path) -> list[tuple[Any, str]]:
    """(int16 at 16 kHz, text) of each recording."""
    from milo.audio.reading import stream

    paths = [path for path in sorted(folder.glob("*.wav")) if path.with_suffix(".txt").is_file()]
    return [(np.concatenate(list(stream(path, max_s=1e6))), path.with_suffix(".txt").read_text()) for path in paths]


def espeak_sentences(texts: list[str]) -> list[tuple[Any, str]]:
    """The clauses of the recordings' texts, spoken by eSpeak's voices in turn."""
    from milo.audio.resample import resample
    from milo.engines.speech.espeak_synthesizer import EspeakSynthesizer

    voice = EspeakSynthesizer()
    clauses = [clause.strip() for text in texts for clause in re.split(r"[.,;]", text) if len(clause.split()) > 2]
    spoken = []
    for number, clause in enumerate(clauses):
        name = voice.voices[number % len(voice.voices)]
        sound = resample(voice.synthesize(clause, language="en", voice=name), voice.sample_rate_hz, RATE_HZ)
        spoken.append(((sound * 32767).astype(np.int16), clause))
    return spoken


def make_archive(folder: Path, recordings: Path, count: int) -> tuple[list[Path], dict[str, str], float]:
    """Files in an order of chance, their texts, and their seconds together."""
    rng = random.Random("archive of real speech")
    real = load_recordings(recordings)
    spoken = espeak_sentences([text for _, text in real])
    files: list[Path] = []
    texts, total_s = {}, 0.0
    ranges = [limits for share, *limits in LENGTHS_S for _ in range(round(share * count))]
    rng.shuffle(ranges)
    for low, high in ranges:
        pieces: list[Any] = []
        said, seconds = [], 0.0
        goal = rng.uniform(low, high)
        while not pieces or seconds < goal:
            pool = real if rng.random() < OWN_SHARE else spoken
            fresh = [piece for piece in pool if piece[1] not in said]  # what is said twice looks like a model in a loop
            fitting = [piece for piece in fresh if seconds + len(piece[0]) / RATE_HZ <= high]
            if not fitting:
                fitting = [min(fresh or pool, key=lambda piece: len(piece[0]))]
                goal = 0.0
            sound, text = rng.choice(fitting)
            pause = np.zeros(round(rng.choice((0.3, 0.6, 1.0, 2.5)) * RATE_HZ), np.int16)
            pieces += [sound, pause]
            said.append(text)
            seconds += (len(sound) + len(pause)) / RATE_HZ
        path = folder / f"{len(files):04}.wav"
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
            file.writeframes(np.concatenate(pieces).astype("<i2").tobytes())
        files.append(path)
        texts[path.stem] = " ".join(said)
        total_s += seconds
    return files, texts, total_s


class Candidate:
    """An engine in its own process; it sleeps while the others have their turn."""

    def __init__(self, name: str, model: Path, python: str, home: Path) -> None:
        self.name = name
        self.wall_s = self.cpu_s = self.peak_mb = 0.0
        self.texts: dict[str, str] = {}
        env = os.environ | {"BENCHMARK_HOME": str(home), "OMP_WAIT_POLICY": "passive"}
        command = [python, "-m", "benchmarks.whisper_engines", name, str(model)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)

    def ask(self, files: list[Path], *, counted: bool = True) -> None:
        assert self._process.stdin and self._process.stdout
        print(json.dumps([str(path) for path in files]), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended with {self._process.wait()}; what it wrote stands above.")
        answer = json.loads(line)
        if counted:
            self.wall_s += answer["wall_s"]
            self.cpu_s += answer["cpu_s"]
            self.texts |= answer["texts"]
        self.peak_mb = answer["peak_mb"]

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def encoder_peak(model: Path) -> tuple[float, int]:
    """Seconds of the processor that the encoder takes for a second of a full window, and the best batch size."""
    import ctranslate2

    loaded = ctranslate2.models.Whisper(str(model), device="cpu", compute_type="float32", intra_threads=1)
    best = (float("inf"), 0)
    for batch in (1, 4):
        features = np.random.default_rng(0).standard_normal((batch, loaded.n_mels, 3000)).astype(np.float32)
        for _ in range(2):
            started = time.process_time()
            loaded.encode(ctranslate2.StorageView.from_array(features))
            best = min(best, ((time.process_time() - started) / (30 * batch), batch))
    return best


def run(names: list[str], model: Path, files: list[Path], python: str, home: Path, turn: int) -> list[Candidate]:
    write_transformers(model, home / "transformers")
    write_ggml(model, home / "ggml.bin")
    models = {"transformers": home / "transformers", "whisper.cpp": home / "ggml.bin"}
    candidates = []
    for name in names:
        interpreter = python if name == "whisper.cpp" else sys.executable
        candidates.append(Candidate(name, models.get(name, model), interpreter, home))
        candidates[-1].ask(files[:1], counted=False)  # to load and to warm up
    for start in range(0, len(files), turn):
        order = candidates[:]
        random.Random(start).shuffle(order)
        for candidate in order:
            candidate.ask(files[start : start + turn])
        so_far = ", ".join(f"{one.name} {one.cpu_s:.1f} s" for one in candidates)
        print(f"{min(len(files), start + turn)} of {len(files)} files: {so_far}", file=sys.stderr)
    for candidate in candidates:
        candidate.close()
    return candidates


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("recordings", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--turn", type=int, default=20, help="files that each engine takes before the next one's turn")
    parser.add_argument("--whisper-cpp", default="", metavar="PYTHON")
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), default=list(ENGINES))
    arguments = parser.parse_args()
    names = [name for name in arguments.engines if name != "whisper.cpp" or arguments.whisper_cpp]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "archive").mkdir()
        files, references, total_s = make_archive(home / "archive", arguments.recordings, arguments.count)
        load = os.getloadavg()[0]
        candidates = run(names, arguments.model, files, arguments.whisper_cpp, home, arguments.turn)
        peak, batch = encoder_peak(arguments.model)
    rows = {
        one.name: {
            "cpu_s": round(one.cpu_s, 1),
            "wall_s": round(one.wall_s, 1),
            "x_realtime_of_a_core": round(total_s / one.cpu_s, 2),
            "wer": word_error_rate(one.texts, references),
            "peak_mb": round(one.peak_mb),
            "share_of_peak": round(peak * total_s / one.cpu_s, 2),
        }
        for one in candidates
    }
    others = [row["cpu_s"] for name, row in rows.items() if not name.startswith("milo")]
    for name, row in rows.items():
        if name.startswith("milo") and others:
            row["ratio_to_best_other"] = round(min(others) / row["cpu_s"], 2)
    report = {
        "machine": machine(),
        "load_before": load,
        "files": len(files),
        "audio_s": round(total_s),
        "encoder_peak_cpu_s_per_s": round(peak, 4),
        "encoder_peak_batch": batch,
        "engines": rows,
    }
    save("archive_real", report)
    print(json.dumps({name: value for name, value in report.items() if name != "machine"}, indent=2))


if __name__ == "__main__":
    main()
