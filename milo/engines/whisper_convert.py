"""Convert a transformers Whisper checkpoint to CTranslate2, once, and keep it beside the model.

The conversion runs in a process of its own (`python -m milo.engines.whisper_convert`): it needs torch and
transformers, serving does not. Weights keep the precision they were saved in; the compute type is chosen at load.
Safetensors only; `trust_remote_code` is never set.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from filelock import FileLock

from milo.engines.whisper_checkpoint import Checkpoint
from milo.errors import ModelUnavailable
from milo.model_files import fingerprint, fsync_folder, read_json, write_durably
from milo.settings import Settings

RECIPE = 1
"""Raise it when a conversion made by an older Milo must not be used."""
SOURCE = "source.json"
PLAIN_TYPES = {"F16": "float16", "BF16": "bfloat16"}


def dtype_of(checkpoint: Checkpoint) -> str:
    """`float16`, `bfloat16` or `float32`: what the checkpoint was saved in."""
    return PLAIN_TYPES.get(checkpoint.info.dtype, "float32")


def _places(settings: Settings, checkpoint: Checkpoint) -> list[Path]:
    """Where the conversion may lie: beside the user's own model, else in the cache."""
    path = checkpoint.resolved.path
    key = sha256(str(path).encode()).hexdigest()[:16]
    cache = settings.home / "cache" / "ct2" / key
    beside = path / f"ct2-{dtype_of(checkpoint)}"
    ours = checkpoint.resolved.kind in ("registry", "folder") or path.is_relative_to(settings.home)
    return [beside, cache] if ours and os.access(path, os.W_OK) else [cache]


def _state(checkpoint: Checkpoint) -> dict[str, Any]:
    """What the conversion depends on; another state, and it is made again."""
    import ctranslate2

    return {
        "recipe": RECIPE,
        "ctranslate2": ctranslate2.__version__.rsplit(".", 1)[0],
        "model": checkpoint.resolved.sha256 or fingerprint(checkpoint.resolved.path),
        "tokens": sha256(checkpoint.tokenizer.to_str().encode()).hexdigest()[:16],
        "config": _runtime_config(checkpoint),
    }


def _runtime_config(checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        "alignment_heads": [list(pair) for pair in checkpoint.alignment_heads],
        "lang_ids": sorted(checkpoint.languages.values()),
        "suppress_ids": checkpoint.suppress,
        "suppress_ids_begin": checkpoint.suppress_begin,
    }


@contextmanager
def converted(settings: Settings, checkpoint: Checkpoint) -> Iterator[Path]:
    """The CTranslate2 folder of a checkpoint, made if need be; no other process replaces it inside the `with`.

    Raises `ModelUnavailable` when the conversion fails, with its last line.
    """
    state = _state(checkpoint)
    places = _places(settings, checkpoint)
    for place in places:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(place.with_name(f".{place.name}.lock"))
            lock.acquire(timeout=1800)
        except OSError:
            if place is places[-1]:
                raise
            continue  # a read-only disk that looked writable
        with lock:
            if not _fresh(place, state):
                _convert(checkpoint, place, state)
            yield place
            lock.release()
        return


def _fresh(place: Path, state: dict[str, Any]) -> bool:
    try:
        return read_json(place / SOURCE) == state and (place / "model.bin").is_file()
    except ModelUnavailable:
        return False


def _convert(checkpoint: Checkpoint, place: Path, state: dict[str, Any]) -> None:
    """Convert into a temporary folder and rename it. The caller holds the lock."""
    for leftover in place.parent.glob(f".{place.name}.tmp-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    staging = place.with_name(f".{place.name}.tmp-{os.getpid()}")
    staging.mkdir()
    try:
        (staging / "tokenizer.json").write_text(checkpoint.tokenizer.to_str(), encoding="utf-8")
        _run_converter(checkpoint, staging)
        (staging / "tokenizer.json").unlink()
        write_durably(staging / "config.json", json.dumps(_runtime_config(checkpoint)))
        write_durably(staging / SOURCE, json.dumps(state))
        if place.exists():
            place.rename(staging / "replaced")
        staging.rename(place)
        fsync_folder(place.parent)
        shutil.rmtree(place / "replaced", ignore_errors=True)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _run_converter(checkpoint: Checkpoint, staging: Path) -> None:
    command = [sys.executable, "-m", __name__, str(checkpoint.resolved.path), str(staging)]
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    quiet = {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "TRANSFORMERS_VERBOSITY": "error", "PYTHONPATH": path}
    done = subprocess.run(command, env={**os.environ, **quiet}, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ModelUnavailable(f"{checkpoint.resolved.path} can't be converted for CTranslate2: {last}")


def main(source: str, target: str) -> None:
    """Convert `source` into `target`, which already holds the tokenizer.json to use."""
    from ctranslate2.converters import TransformersConverter
    from tokenizers import Tokenizer

    class Converter(TransformersConverter):  # type: ignore[misc]
        def load_model(self, model_class: Any, path: str, **options: Any) -> Any:
            return model_class.from_pretrained(path, use_safetensors=True, local_files_only=True, **options)

        def load_tokenizer(self, tokenizer_class: Any, path: str, **options: Any) -> Any:
            return _Vocabulary()

    class _Vocabulary:
        additional_special_tokens: tuple[str, ...] = ()

        def get_vocab(self) -> dict[str, int]:
            return Tokenizer.from_file(str(Path(target) / "tokenizer.json")).get_vocab()

    made = Path(target) / "converted"
    Converter(source, low_cpu_mem_usage=True).convert(str(made))
    for path in made.iterdir():
        path.rename(Path(target) / path.name)
    made.rmdir()


if __name__ == "__main__":
    main(*sys.argv[1:3])
