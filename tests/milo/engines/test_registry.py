"""One door for every engine: the table is true, and another engine is one file and one row."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from milo.engines import first_load
from milo.engines import registry as door
from milo.engines.residency import Residency
from milo.errors import ModelUnavailable
from milo.jobs import NewJob
from milo.ledger import Ledger
from milo.models import engines, registry
from milo.models.engines import ENGINES, Engine
from milo.settings import Settings
from milo.storage.files import Files
from milo.synthesis.voices import describe_speech
from workers import engines as workers_engines
from workers.runner import Runner

BEEPER = '''
import numpy as np


class Beeper:
    """A voice of one note."""

    sample_rate_hz = 16_000
    languages = ("mg",)
    voices = ("speaker-0",)
    size_bytes = 1

    def __init__(self, name):
        self.name = name

    def synthesize(self, text, *, language, voice=None, speed=1.0):
        return np.sin(np.arange(1600 * len(text)) / 8).astype(np.float32)


def load(settings, model):
    return Beeper(model.label)
'''


@pytest.fixture
def beeper(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> str:
    """Another engine, as `docs/adding-an-engine.md` adds one: a file, a row, and a folder with a model of its type."""
    (tmp_path / "code" / "beeping").mkdir(parents=True)
    (tmp_path / "code" / "beeping" / "__init__.py").write_text("")
    (tmp_path / "code" / "beeping" / "engine.py").write_text(BEEPER)
    monkeypatch.syspath_prepend(tmp_path / "code")
    row = Engine("tts", "beeper", "numpy", "beeping.engine:load", ("numpy",))
    monkeypatch.setattr(engines, "ENGINES", (*ENGINES, row))
    folder = tmp_path / "beep"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "beeper"}))
    save_file({"note": np.ones(1, np.float32)}, folder / "model.safetensors")
    registry.deploy(settings, "beep", folder)
    return "beep"


def test_the_loaders_of_the_table_are_there_and_the_packages_they_need_are_dependencies() -> None:
    for row in ENGINES:
        module, _, function = row.loader.partition(":")
        assert callable(getattr(import_module(module), function)), row.loader
        assert module.startswith("milo.engines."), row.loader
        assert all(find_spec(package) for package in row.needs), row.needs


def test_a_type_is_for_one_use_and_its_engines_have_names_of_their_own() -> None:
    uses = {(row.model_type, row.use) for row in ENGINES}
    assert len({model_type for model_type, _ in uses}) == len(uses)
    names = [(row.use, row.model_type, row.name) for row in ENGINES]
    assert len(names) == len(set(names))


def test_each_value_of_the_setting_names_an_engine() -> None:
    names = {row.name for row in ENGINES if row.use == "stt"}
    assert names == set(Settings.model_fields["stt_engine"].annotation.__args__)  # type: ignore[union-attr]


def test_nothing_heavy_is_imported_before_a_model_is_loaded() -> None:
    code = """
import sys
import milo.engines.registry, milo.models.registry
print([name for name in ("torch", "transformers", "ctranslate2", "llama_cpp") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_model_of_another_kind_is_refused_with_what_is_needed(settings: Settings) -> None:
    whisper = registry.resolve(settings, "milo-tiny-mg")
    with pytest.raises(ModelUnavailable, match="milo-tiny-mg is a whisper model; speech needs espeak-ng or vits"):
        door.load_synthesizer(settings, whisper)
    with pytest.raises(ModelUnavailable, match="translation needs m2m_100"):
        door.load_translator(settings, whisper)


def test_the_setting_chooses_among_the_engines_of_a_type(settings: Settings) -> None:
    assert door.choose(settings, "stt", "whisper", "m").name == "ctranslate2"
    assert door.choose(settings, "stt", "whisper", "m", engine="transformers").name == "transformers"
    reference = settings.model_copy(update={"stt_engine": "transformers"})
    assert door.choose(reference, "stt", "whisper", "m").name == "transformers"
    assert door.choose(reference, "translate", "m2m_100", "m").name == "ctranslate2"


def test_an_engine_that_was_added_is_told_apart_described_and_loaded(settings: Settings, beeper: str) -> None:
    assert registry.describe(registry.resolve(settings, beeper)).use == "tts"
    assert describe_speech(settings, beeper).voices == ("speaker-0",)
    voice = door.load_synthesizer(settings, door.find_voice_model(settings, beeper))
    assert voice.name == registry.resolve(settings, beeper).label


def test_an_engine_that_was_added_serves_a_job(
    settings: Settings, beeper: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Residency(1e9, 0, 0)
    monkeypatch.setattr(workers_engines, "residency", lambda: held)
    monkeypatch.setattr(workers_engines, "report", lambda settings, worker: None)
    monkeypatch.setattr(first_load, "try_first", lambda *_: None)  # another process does not know this package
    ledger, files = Ledger.open(settings), Files(settings)
    payload = {"text": "Salama", "model": beeper, "language": "mg", "format": "wav"}
    values = {"kind": "tts", "payload": payload, "owner": "ana", "priority": "interactive"}
    job = ledger.create(NewJob.model_validate(values))
    assert Runner(settings, ledger, files, "w/0").run(job.id) == "done"
    done = ledger.get(job.id)
    ledger.engine.dispose()
    assert done.state == "succeeded", done.error
    assert done.models == {"tts": registry.resolve(settings, beeper).label}
