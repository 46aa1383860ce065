"""Models that can't be loaded, and models that answer with numbers that are none."""

from __future__ import annotations

import random
from pathlib import Path

from milo.models import registry
from milo.models.registry import embedded_path
from milo.settings import Settings
from tests.faults.field import Field, stack, waiting
from tests.faults.table import Row
from tests.faults.work import VOICES, Load, account

COOLDOWN_S = 3.0
MODEL = "milo-tiny-mg"


def broken_models(folder: Path, scale: float, rng: random.Random) -> list[Row]:
    """Jobs that name them fail with a reason; jobs with the good model, beside them, succeed."""
    settings = Settings(home=folder / "home", _env_file=None)
    source = embedded_path(MODEL)
    assert source is not None
    for name in ("cut-off", "not-a-number"):
        registry.deploy(settings, name, source)
    _cut(_weights(settings, "cut-off"))
    _poison(_weights(settings, "not-a-number"))
    with stack(folder, ("flower",), load_cooldown_s=COOLDOWN_S) as field:
        load = Load(field, max(6, round(30 * scale)), rng, "good", ("stt", "ping", "tts"))
        load.start()
        rows = [
            _fails(field, "cut-off", "a model that can't be loaded", scale),
            _fails(field, "not-a-number", "a model that returns NaN", scale),
        ]
        account(field, load.finish(), rows[0], 240)
    return rows


def _weights(settings: Settings, name: str) -> Path:
    (found,) = (settings.home / "models" / name).glob("*/model.safetensors")
    return found


def _cut(weights: Path) -> None:
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])


def _poison(weights: Path) -> None:
    import numpy as np
    from safetensors.numpy import load_file, save_file

    tensors = {name: np.full_like(tensor, np.nan) for name, tensor in load_file(weights).items()}
    save_file(tensors, weights)


def _fails(field: Field, model: str, title: str, scale: float) -> Row:
    row = Row(title)
    blob = field.put_blob(VOICES[0])
    ids = []
    for number in range(max(2, round(10 * scale))):
        payload = {"source": {"blob": blob, "name": "a"}, "model": model}
        ids.append(str(field.post("/jobs", {"kind": "stt", "payload": payload}, f"{model} {number}")["id"]))
    row.jobs = row.faults = len(ids)
    with field.ledger() as ledger:
        left = waiting(lambda: [one for one in ids if not ledger.get(one).final], 180)
        row.expect(not left, f"{len(left)} have not ended")
        for one in ids:
            job = ledger.get(one)
            told = str((job.error or {}).get("detail"))
            row.expect(job.state == "failed" and model in told, f"{one} is {job.state}: {told}")
    return row
