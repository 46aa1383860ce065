"""The model in the repository, on the recordings in `samples/`: both engines write the same text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from milo.audio.reading import stream
from milo.engines.registry import load_transcriber
from milo.models import registry
from milo.models.store import embedded_path
from milo.protocols import DecodeOptions, Samples
from milo.settings import Settings
from milo.transcription.decoded_speech import plan_windows, speech_in

SAMPLES = Path(__file__).parents[4] / "samples"
NAME = "milo-tiny-mg"

pytestmark = pytest.mark.skipif(embedded_path(NAME) is None, reason=f"{NAME} was not built into milo/assets/models")


def short_recordings() -> list[Samples]:
    found = []
    for path in sorted(SAMPLES.iterdir()):
        if path.suffix == ".tsv" or path.name.startswith("20-"):
            continue
        pcm = np.concatenate(list(stream(path, max_s=60)))
        found.append((pcm[: 30 * 16_000] / 32768).astype(np.float32))
    return found


def test_both_engines_write_the_same_text_on_the_samples(tmp_path: Path) -> None:
    recordings = short_recordings()
    assert len(recordings) > 8
    options = DecodeOptions(language="mg", temperatures=(0.0,))
    texts = []
    for engine_name in ("ctranslate2", "transformers"):
        settings = Settings(home=tmp_path, stt_engine=engine_name, cpu_threads=1, device="cpu", _env_file=None)
        engine = load_transcriber(settings, registry.resolve(settings, NAME))
        results = engine.transcribe(recordings, options)
        assert all(result.words for result in results if result.text)
        texts.append([result.text for result in results])
    assert texts[0] == texts[1]
    assert any(texts[0])


def test_it_takes_short_windows_and_names_its_languages(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, _env_file=None)
    info = registry.describe(registry.resolve(settings, NAME))
    assert info.min_window_s < 30 and info.max_window_s == 30
    assert "mg" in info.languages and "transcribe" in info.tasks
    assert registry.resolve(settings, NAME).kind == "embedded"


def test_a_recording_at_minus_40_db_has_the_words_that_it_has_at_its_own_level(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, stt_engine="ctranslate2", cpu_threads=1, device="cpu", _env_file=None)
    engine = load_transcriber(settings, registry.resolve(settings, NAME))
    for path in sorted(SAMPLES.glob("0[12]-*")):
        loud = np.concatenate(list(stream(path, max_s=60)))
        texts = []
        for pcm in (loud, np.rint(loud / 100).astype(np.int16)):
            speech = speech_in(pcm)
            plan = plan_windows(speech, pack_window_s=engine.pack_window_s, max_window_s=engine.max_window_s)
            heard = engine.transcribe([speech.samples(one.start_s, one.end_s) for one in plan], DecodeOptions("mg"))
            texts.append([result.text for result in heard])
        assert texts[0] == texts[1] != []
