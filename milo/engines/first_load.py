"""The first load of a model that was never loaded here: tried in a process apart, on the CPU, under limits.

What a model's files can do to a library (build for hours, take all memory, crash) then ends that process, and not the
worker with everybody's models. What passed is noted by its content under `home`/cache, so that it costs once; what ran
into a limit is refused for a while without another try. Models that come with Milo, and those that its own trainings
have written, are not tried.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from milo.errors import MiloError, ModelUnusable
from milo.models.apart import Limits, run_apart
from milo.models.files import read_json, weight_files, write_durably
from milo.models.registry import ResolvedModel
from milo.models.resolve import content_sha256
from milo.settings import Settings

BASE_BYTES = 4 * 2**30
"""What an engine's libraries may take, whatever the model."""
TIMES_WEIGHTS = 6
"""How often the weights may be in memory: as saved, as float32, converted."""
REFUSED_FOR_S = 600.0
OWN = ("runs", "candidates")
"""Folders of the home that only this installation's trainings write to."""
FAILED = 3
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME")
_SETTINGS = ("stt_engine", "stt_processor", "batch_windows")
"""Settings that change what is loaded."""


def try_first(settings: Settings, use: str, model_type: str, model: ResolvedModel, engine: str = "") -> None:
    """Raises what loading the model raises, `ModelUnusable` when it ran into a limit, `Cancelled` when nobody wants it
    any more. Returns at once for a model that was loaded before."""
    if model.kind == "embedded" or any(model.path.is_relative_to(settings.home / own) for own in OWN):
        return
    note = _note(settings, use, model, engine)
    if _passed(note, model):
        return
    weights = sum(path.stat().st_size for path in weight_files(model.path))
    cpu_s = settings.load_s * (1 + weights / 1e9)
    limits = Limits(cpu_s, BASE_BYTES + TIMES_WEIGHTS * weights, 2**30 + 4 * weights)
    request = {"use": use, "type": model_type, "engine": engine, "model": {**model.__dict__, "path": str(model.path)}}
    command = [sys.executable, "-m", "milo.engines.first_load"]
    ended = run_apart(command, _environment(settings), limits, json.dumps(request).encode())
    if ended.code == FAILED:
        raise MiloError.from_problem(json.loads(ended.stdout.splitlines()[-1]))
    if ended.code != 0:
        last = (ended.stderr.decode("utf-8", "replace").strip().splitlines() or [f"it ended with {ended.code}"])[-1]
        why = {
            "time": f"it was not loaded within {cpu_s:.0f} s of computing (MILO_LOAD_S)",
            "memory": f"loading it took more than {limits.memory_bytes} bytes of memory",
        }.get(ended.why, f"loading it failed: {last[:300]}")
        _write(note, {"refused": why, "at": time.time()})
        raise ModelUnusable(f"{model.label} can't be used: {why}")
    _write(note, {"loaded": model.label, "at": time.time()})


def _note(settings: Settings, use: str, model: ResolvedModel, engine: str) -> Path:
    """Named by the content, not by the name: the same files elsewhere were tried, others under this name were not."""
    chosen = [use, engine, *(str(getattr(settings, name)) for name in _SETTINGS)]
    key = hashlib.sha256("\n".join([content_sha256(model), *chosen]).encode()).hexdigest()[:32]
    return settings.home / "cache" / "first-loads" / f"{key}.json"


def _passed(note: Path, model: ResolvedModel) -> bool:
    try:
        found = read_json(note)
    except MiloError:
        return False
    left_s = float(found.get("at", 0)) + REFUSED_FOR_S - time.time()
    if "refused" in found and 0 < left_s <= REFUSED_FOR_S:
        raise ModelUnusable(f"{model.label} can't be used: {found['refused']}. It is tried again in {left_s:.0f} s")
    return "loaded" in found


def _write(note: Path, document: dict[str, Any]) -> None:
    note.parent.mkdir(parents=True, exist_ok=True)
    write_durably(note, json.dumps(document))


def _environment(settings: Settings) -> dict[str, str]:
    """No key and no password; no card, for the worker has that."""
    env = {name: os.environ[name] for name in _KEPT if name in os.environ}
    env |= {f"MILO_{name.upper()}": str(getattr(settings, name)) for name in _SETTINGS if getattr(settings, name)}
    env |= {"MILO_HOME": str(settings.home), "MILO_DEVICE": "cpu", "MILO_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    env |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return env | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}


def main() -> int:
    """Load what stdin says, and let it go. Exit code 3 with the problem on stdout when it can't be loaded."""
    from milo.engines.registry import load

    request = json.load(sys.stdin)
    model = ResolvedModel(**{**request["model"], "path": Path(request["model"]["path"])})
    try:
        engine = load(Settings(_env_file=None), request["use"], request["type"], model, model.name, request["engine"])
    except MiloError as error:
        sys.stdout.write(json.dumps(error.problem()) + "\n")
        return FAILED
    engine.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
