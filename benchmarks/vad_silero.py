"""Voice activity detection: Silero's network in numpy against ONNX Runtime, same weights, same audio, in one run.

    python -m benchmarks.vad_silero [--minutes 10] [--rounds 5]

Both on one thread. ONNX Runtime twice: the package's sequence file in blocks of 33 s, and the same file frame by frame.
The audio: sentences of the synthetic corpus with their pauses, in noise, so that no frame is digital silence. Rounds
alternate, the best of each is compared, in CPU time: what else the machine does hardly counts. The probabilities that
both give each frame are compared, too.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable

import numpy as np

from benchmarks.common import machine, save
from milo.audio.silero import CONTEXT, FRAME, Array, NumpySilero, OnnxSilero, Silero, model_path, zero_state

RATE_HZ = 16_000
BLOCK_FRAMES = 1024
Detect = Callable[[], Array]


def speech_frames(minutes: float) -> Array:
    """(n, 64 + 512): each frame of the audio with the end of the one before it."""
    from trainer.corpus import corpus, effects

    rng = random.Random("vad")
    pieces, _ = corpus.dry_stream(rng, minutes * 60, "mg", "heldout")
    audio = effects.simulate_recording(np.concatenate(pieces), np.random.default_rng(0))
    audio = audio + effects.coloured_noise(np.random.default_rng(1), len(audio), 0) * np.float32(1e-4)
    count = len(audio) // FRAME
    padded = np.concatenate([np.zeros(CONTEXT, np.float32), audio[: count * FRAME]])
    return np.stack([padded[at * FRAME : at * FRAME + CONTEXT + FRAME] for at in range(count)])


def probabilities(network: Silero, frames: Array, block: int) -> Array:
    """Of speech, for each frame; the state goes on from block to block."""
    state, parts = zero_state(), []
    for at in range(0, len(frames), block):
        part, state = network(frames[at : at + block], state)
        parts.append(part)
    return np.concatenate(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    frames = speech_frames(arguments.minutes)
    own, onnx = NumpySilero(model_path().read_bytes()), OnnxSilero(model_path())
    ways: dict[str, Detect] = {
        "numpy": lambda: probabilities(own, frames, BLOCK_FRAMES),
        "onnxruntime": lambda: probabilities(onnx, frames, BLOCK_FRAMES),
        "onnxruntime, frame by frame": lambda: probabilities(onnx, frames, 1),
    }
    results = {name: detect() for name, detect in ways.items()}  # warm-up, and what is compared
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(arguments.rounds):
        for name, detect in ways.items():
            started = time.process_time()
            detect()
            seconds[name].append(time.process_time() - started)
    audio_s = len(frames) * FRAME / RATE_HZ
    best = {name: min(times) for name, times in seconds.items()}
    report = {
        "machine": machine(),
        "audio_s": round(audio_s),
        "x_realtime_of_cpu_time": {name: round(audio_s / took_s) for name, took_s in best.items()},
        "ratio": {name: round(took_s / best["numpy"], 2) for name, took_s in best.items() if name != "numpy"},
        "largest_difference": float(np.abs(results["numpy"] - results["onnxruntime"]).max()),
        "frames_on_the_other_side_of_half": int(((results["numpy"] > 0.5) != (results["onnxruntime"] > 0.5)).sum()),
    }
    print(json.dumps({name: value for name, value in report.items() if name != "machine"}, indent=2))
    save("vad_silero", report)


if __name__ == "__main__":
    main()
