"""A small speech set in files: sentences that `milo-tiny-mg` knows, spoken by eSpeak, six speakers."""

from __future__ import annotations

import json
from pathlib import Path

SPEAKERS = 6


def write_set(folder: Path, count: int = 12, extra: tuple[str, ...] = (), seed: int = 7) -> Path:
    """`set.jsonl` with the columns audio, text, speaker, split (test). `extra`: texts put in place of the true ones."""
    import soundfile

    from trainer.corpus import corpus

    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, window in enumerate(corpus.evaluation_windows(seed, count + len(extra))):
        name = f"{number:03}.wav"
        soundfile.write(folder / name, window.audio, 16_000)
        text = window.text if number < count else extra[number - count]
        lines.append({"audio": name, "text": text, "speaker": f"s{number % SPEAKERS}", "split": "test"})
    path = folder / "set.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
