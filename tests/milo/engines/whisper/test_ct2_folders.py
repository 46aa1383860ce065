"""Folders in CTranslate2's format, served as they are: the text, numbers and times of the model they were made from.

The models are random, in the shapes of large-v3-turbo, of distilled ones and of English-only ones, and are made by
CTranslate2's own converter.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from milo.engines.first_load import try_first
from milo.engines.registry import load_transcriber
from milo.engines.whisper.checkpoint import load_checkpoint
from milo.engines.whisper.transcriber import WhisperTranscriber
from milo.errors import Invalid, ModelUnavailable
from milo.models import registry
from milo.protocols import DecodeOptions
from milo.settings import Settings
from tests.milo.engines.whisper.test_engines import same, settings_in, sound
from tests.milo.engines.whisper.whisper_models import make_checkpoint, make_ct2

WINDOWS = [sound(5.5, 3)]
ONCE = DecodeOptions(temperatures=(0.0,))
LIVELY: dict[str, Any] = {"scale": 4, "lively": True, "heads": 4}
MODELS: dict[str, dict[str, Any]] = {
    "turbo": {**LIVELY, "n_mels": 128, "encoder_layers": 6, "decoder_layers": 2, "alignment_heads": [[0, 1], [1, 3]]},
    "distil": {**LIVELY, "encoder_layers": 6, "decoder_layers": 2, "alignment_heads": [[7, 0], [10, 17], [25, 6]]},
    "tiny.en": {**LIVELY, "languages": ("en",), "vocab_size": 51_864, "encoder_layers": 1, "decoder_layers": 1},
}


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once and shared by all test processes: `<name>` and `<name>-ct2`."""
    base = tmp_path_factory.getbasetemp()
    base = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "ct2-folders"
    with FileLock(f"{base}.lock"):
        if not base.exists():
            staging = base.with_name("ct2-folders.tmp")
            for name, shape in MODELS.items():
                make_ct2(make_checkpoint(staging / name, **shape), staging / f"{name}-ct2", "float32")
            make_ct2(staging / "turbo", staging / "int8-ct2", "int8")
            staging.rename(base)
    return base


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Callable[..., WhisperTranscriber]]:
    """The engine of a folder, closed when the test ends."""
    with ExitStack() as stack:

        def opened(folder: Path, **values: Any) -> WhisperTranscriber:
            settings = settings_in(tmp_path / "home", **values)
            engine = load_transcriber(settings, registry.resolve(settings, str(folder)))
            assert isinstance(engine, WhisperTranscriber)
            stack.callback(engine.close)
            return engine

        yield opened


@pytest.mark.parametrize("name", MODELS)
def test_a_folder_gives_what_the_transformers_weights_give(
    name: str, root: Path, load: Callable[..., WhisperTranscriber]
) -> None:
    ours, theirs = load(root / f"{name}-ct2"), load(root / name, stt_engine="transformers")
    if name != "tiny.en":
        assert ours.checkpoint.languages == theirs.checkpoint.languages
    assert ours.checkpoint.alignment_heads == theirs.checkpoint.alignment_heads
    heard = ours.transcribe(WINDOWS, ONCE)
    assert any(result.words for result in heard)
    for one, other in zip(heard, theirs.transcribe(WINDOWS, ONCE), strict=True):
        same(one, other)


def test_the_model_s_folder_stays_as_it_was_and_the_weights_are_not_copied(
    root: Path, load: Callable[..., WhisperTranscriber], tmp_path: Path
) -> None:
    folder = root / "turbo-ct2"
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    load(folder)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    (linked,) = (tmp_path / "home" / "cache" / "ct2").glob("*/model.bin")
    assert linked.is_symlink() and linked.resolve() == (folder / "model.bin").resolve()


def test_turbo_s_shape_has_128_mels_windows_of_30_s_and_its_own_heads(root: Path, tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    checkpoint = load_checkpoint(settings, registry.resolve(settings, str(root / "turbo-ct2")))
    assert (checkpoint.n_mels, checkpoint.info.min_window_s, checkpoint.info.max_window_s) == (128, 30, 30)
    assert checkpoint.alignment_heads == [(0, 1), (1, 3)]
    assert list(checkpoint.tasks) == ["transcribe"]


def test_a_distilled_model_is_aligned_by_its_own_layers_and_not_by_its_teacher_s(
    root: Path, load: Callable[..., WhisperTranscriber]
) -> None:
    named = json.loads((root / "distil-ct2" / "config.json").read_text())["alignment_heads"]
    assert [7, 0] in named  # CTranslate2 would read past its decoder
    engine = load(root / "distil-ct2")
    assert engine.checkpoint.alignment_heads == [(1, head) for head in range(4)]
    assert all(result.words for result in engine.transcribe(WINDOWS, ONCE) if result.text)


def test_an_english_only_model_has_no_language_tokens_and_refuses_other_languages(
    root: Path, load: Callable[..., WhisperTranscriber]
) -> None:
    engine = load(root / "tiny.en-ct2")
    checkpoint = engine.checkpoint
    assert (engine.languages, checkpoint.languages, checkpoint.tasks) == (("en",), {}, {})
    assert checkpoint.prompt("en", DecodeOptions()) == [checkpoint.sot, checkpoint.no_timestamps]
    automatic, english = (
        engine.transcribe(WINDOWS, options) for options in (ONCE, DecodeOptions("en", temperatures=(0,)))
    )
    assert automatic == english and automatic[0].language == "en"
    with pytest.raises(Invalid, match="does not know the language 'fr'; it knows en"):
        engine.transcribe(WINDOWS, DecodeOptions(language="fr"))
    with pytest.raises(Invalid, match="can't translate"):
        engine.transcribe(WINDOWS, DecodeOptions(task="translate"))


def test_without_tokenizer_json_the_vocabulary_gives_the_same_tokens(
    root: Path, load: Callable[..., WhisperTranscriber], tmp_path: Path
) -> None:
    whole = load(root / "turbo-ct2")
    bare = load(shutil.copytree(root / "turbo-ct2", tmp_path / "bare", ignore=lambda *_: {"tokenizer.json"}))
    text = " Manao ahoana tompoko, roa amby folo; l'heure 漢"
    prompts = [one.checkpoint.prompt("mg", DecodeOptions(prompt=text)) for one in (whole, bare)]
    assert prompts[0] == prompts[1] and len(prompts[0]) > 20
    assert whole.transcribe(WINDOWS[:1], ONCE) == bare.transcribe(WINDOWS[:1], ONCE)


def test_weights_in_8_bits_are_computed_in_8_bits(root: Path, load: Callable[..., WhisperTranscriber]) -> None:
    engine = load(root / "int8-ct2")
    assert engine.checkpoint.info.dtype == "I8"
    assert engine.backend.model.compute_type == "int8_float32"  # type: ignore[attr-defined]
    assert len(engine.transcribe(WINDOWS, ONCE)) == 1


def test_the_engine_of_transformers_says_that_it_can_not_read_it(
    root: Path, load: Callable[..., WhisperTranscriber]
) -> None:
    with pytest.raises(ModelUnavailable, match="the transformers engine needs its weights in transformers' format"):
        load(root / "turbo-ct2", stt_engine="transformers")


def test_it_is_loaded_apart_first(root: Path, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", _env_file=None)
    model = registry.resolve(settings, str(root / "turbo-ct2"))
    try_first(settings, "stt", "whisper", model)
    assert list((tmp_path / "home" / "cache" / "first-loads").iterdir())
    broken = shutil.copytree(root / "turbo-ct2", tmp_path / "broken")
    (broken / "model.bin").write_bytes((broken / "model.bin").read_bytes()[:-1000])
    with pytest.raises(ModelUnavailable, match="is cut off after"):
        try_first(settings, "stt", "whisper", registry.resolve(settings, str(broken)))
