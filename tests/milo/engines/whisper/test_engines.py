"""The two Whisper engines on real (untrained) checkpoints: the same text, numbers and times; conversions."""

from __future__ import annotations

import filecmp
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from milo.engines.registry import load_transcriber
from milo.engines.whisper import convert, ct2
from milo.engines.whisper.checkpoint import load_checkpoint
from milo.engines.whisper.features import batch_features
from milo.engines.whisper.transcriber import WhisperTranscriber
from milo.errors import Invalid, ModelUnavailable
from milo.models import registry
from milo.protocols import DecodeOptions, KeptLanguage, Samples, WindowText
from milo.settings import Settings
from tests.milo.engines.whisper.whisper_models import make_checkpoint

MILO = {"min_window_s": 1.0, "pack_window_s": 8.0}


def settings_in(home: Path, **values: Any) -> Settings:
    return Settings(home=home, cpu_threads=1, device="cpu", _env_file=None, **values)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lively checkpoint, made once and shared by all test processes, with its conversion beside it."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if os.environ.get("PYTEST_XDIST_WORKER") else root
    with FileLock(root / "lively.lock"):
        if not (root / "lively" / "tokenizer.json").is_file():
            make_checkpoint(root / "lively", scale=4, lively=True, milo=MILO)
    return root / "lively"


@pytest.fixture(scope="session")
def served(folder: Path) -> Iterator[WhisperTranscriber]:
    settings = settings_in(folder.parent)
    engine = load_transcriber(settings, registry.resolve(settings, str(folder)))
    assert isinstance(engine, WhisperTranscriber)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def reference(folder: Path) -> Iterator[WhisperTranscriber]:
    settings = settings_in(folder.parent, stt_engine="transformers")
    engine = load_transcriber(settings, registry.resolve(settings, str(folder)))
    assert isinstance(engine, WhisperTranscriber)
    yield engine
    engine.close()


def sound(seconds: float, seed: int) -> Samples:
    n = np.arange(round(seconds * 16_000))
    noise = np.random.default_rng(seed).standard_normal(len(n))
    return (noise * 0.2 * np.abs(np.sin(n / (700 + 800 * seed)))).astype(np.float32)


WINDOWS = [sound(seconds, seed) for seed, seconds in enumerate((0.6, 2.0, 2.3, 5.5, 1.9))]


def same(one: WindowText, other: WindowText) -> None:
    assert (one.text, one.tokens, one.language, one.temperature) == (
        other.text,
        other.tokens,
        other.language,
        other.temperature,
    )
    numbers = [(r.avg_logprob, r.no_speech_prob, r.compression_ratio, r.language_probability) for r in (one, other)]
    assert numbers[0] == pytest.approx(numbers[1], abs=2e-3)
    assert [word.word for word in one.words] == [word.word for word in other.words]
    assert [word.probability for word in one.words] == pytest.approx([w.probability for w in other.words], abs=2e-3)
    times = [[(w.start_s, w.end_s) for w in result.words] for result in (one, other)]
    assert np.asarray(times[0]) == pytest.approx(np.asarray(times[1]), abs=0.05)


@pytest.mark.parametrize(
    "options",
    [
        DecodeOptions(temperatures=(0.0,)),
        DecodeOptions(temperatures=(0.0,), language="fr", beam_size=3),
        DecodeOptions(temperatures=(0.0,), language="mg", prompt="Manao ahoana tompoko."),
        DecodeOptions(temperatures=(0.0,), language="mg", task="translate"),
    ],
    ids=["greedy", "beams", "prompt", "translate"],
)
def test_both_engines_hear_the_same(
    served: WhisperTranscriber, reference: WhisperTranscriber, options: DecodeOptions
) -> None:
    ours, theirs = served.transcribe(WINDOWS, options), reference.transcribe(WINDOWS, options)
    assert any(result.words for result in ours)
    for one, other in zip(ours, theirs, strict=True):
        same(one, other)


def test_a_kept_language_changes_no_text_no_time_and_no_order(served: WhisperTranscriber) -> None:
    options = DecodeOptions(temperatures=(0.0,), logprob_threshold=-99)
    asked = served.transcribe(WINDOWS, options)
    kept = [KeptLanguage(one.language, one.language_probability, -99) for one in asked]
    assert served.transcribe(WINDOWS, options, kept) == asked


def test_the_reference_engine_decodes_like_stock_generate(reference: WhisperTranscriber, folder: Path) -> None:
    import torch
    from transformers import WhisperForConditionalGeneration

    stock = WhisperForConditionalGeneration.from_pretrained(str(folder)).eval()
    features = batch_features([sound(4, 3)], 3000, 80)
    with torch.no_grad():
        expected = stock.generate(torch.from_numpy(features), language="mg", task="transcribe", max_new_tokens=20)
    backend, checkpoint = reference.backend, reference.checkpoint
    prompt = checkpoint.prompt("mg", DecodeOptions())
    (made,) = backend.generate(backend.encode(features), [prompt], 20, 1, 0.0)
    assert made.tokens == [token for token in expected[0].tolist() if token not in prompt][:20]


@pytest.mark.parametrize("engine_name", ["served", "reference"])
def test_the_text_of_a_window_does_not_depend_on_its_neighbours(
    engine_name: str, request: pytest.FixtureRequest
) -> None:
    engine = request.getfixturevalue(engine_name)
    options = DecodeOptions(temperatures=(0.0,), language="mg")
    together = engine.transcribe(WINDOWS, options)
    for window, result in zip(WINDOWS, together, strict=True):
        same(engine.transcribe([window], options)[0], result)


@pytest.mark.parametrize("engine_name", ["served", "reference"])
def test_warm_decoding_still_ends_and_reports_probabilities(engine_name: str, request: pytest.FixtureRequest) -> None:
    engine = request.getfixturevalue(engine_name)
    (result,) = engine.transcribe([WINDOWS[1]], DecodeOptions(temperatures=(0.9,), language="mg"))
    assert result.temperature == 0.9 and result.avg_logprob < 0


def test_languages_are_detected_as_the_decoder_sees_them(
    served: WhisperTranscriber, reference: WhisperTranscriber
) -> None:
    features = batch_features([WINDOWS[1], WINDOWS[2]], 300, 80)
    ours = served.backend.language_probabilities(served.backend.encode(features))
    theirs = reference.backend.language_probabilities(reference.backend.encode(features))
    assert ours == pytest.approx(theirs, abs=1e-4)
    assert ours.sum(axis=1) == pytest.approx([1, 1], abs=1e-4)


# --- conversion ---


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_conversion_is_byte_for_byte_that_of_ctranslate2(tmp_path: Path, dtype: str) -> None:
    from ctranslate2.converters import TransformersConverter
    from transformers import PreTrainedTokenizerFast

    class Stock(TransformersConverter):
        def load_tokenizer(self, _class: object, path: str, **_: object) -> object:
            return PreTrainedTokenizerFast(tokenizer_file=f"{path}/tokenizer.json")

    path = make_checkpoint(tmp_path / "m", dtype=dtype)
    Stock(str(path)).convert(str(tmp_path / "stock"))
    settings = settings_in(tmp_path)
    with convert.converted(settings, load_checkpoint(settings, registry.resolve(settings, str(path)))) as ours:
        assert ours == path / f"ct2-{dtype}"
        assert filecmp.cmp(ours / "model.bin", tmp_path / "stock" / "model.bin", shallow=False)
        names = [json.loads((place / "vocabulary.json").read_text()) for place in (ours, tmp_path / "stock")]
    assert sum(one != other for one, other in zip(*names, strict=True)) == 1  # the empty name; see `vocabulary`


def test_tokens_past_the_tokenizer_are_timestamps_or_unused_never_twice() -> None:
    from tests.milo.engines.whisper.whisper_models import make_tokenizer

    tokenizer = make_tokenizer(("mg", "en"))
    size = tokenizer.get_vocab_size()
    names = convert.vocabulary(tokenizer, size + 3)
    assert len(set(names)) == size + 3 and names[size:] == [f"<|unused{size + n}|>" for n in range(3)]


def test_a_bfloat16_checkpoint_is_converted_and_decoded(tmp_path: Path) -> None:
    path = make_checkpoint(tmp_path / "m", dtype="bfloat16", scale=4, lively=True, milo=MILO)
    settings = settings_in(tmp_path)
    engine = ct2.load(settings, registry.resolve(settings, str(path)))
    assert np.isfinite(engine.transcribe([WINDOWS[1]], DecodeOptions(temperatures=(0.0,)))[0].avg_logprob)


def test_a_model_is_converted_once_and_again_when_its_weights_change(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)

    def made() -> int:
        checkpoint = load_checkpoint(settings, registry.resolve(settings, str(tmp_path / "m")))
        with convert.converted(settings, checkpoint) as place:
            return (place / "model.bin").stat().st_ino

    make_checkpoint(tmp_path / "m", d_model=32, heads=2)
    first = made()
    assert made() == first
    make_checkpoint(tmp_path / "m", d_model=32, heads=2, seed=1)
    assert made() != first
    assert not list((tmp_path / "m").glob(".ct2-*.tmp-*"))


def test_what_ships_with_the_package_is_converted_into_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("milo.models.store.ASSETS", tmp_path / "assets")
    make_checkpoint(tmp_path / "assets" / "small", d_model=32, heads=2)
    settings = settings_in(tmp_path / "home")
    before = {item.name for item in (tmp_path / "assets" / "small").iterdir()}
    with convert.converted(settings, load_checkpoint(settings, registry.resolve(settings, "small"))) as place:
        assert place.is_relative_to(tmp_path / "home" / "cache")
    assert {item.name for item in (tmp_path / "assets" / "small").iterdir()} == before


def test_a_conversion_beside_a_deployed_model_does_not_change_its_identity(tmp_path: Path) -> None:
    settings = settings_in(tmp_path / "home")
    registry.deploy(settings, "mine", make_checkpoint(tmp_path / "m", d_model=32, heads=2))
    before = registry.resolve(settings, "mine")
    ct2.load(settings, before).close()
    assert (before.path / "ct2-float32" / "model.bin").is_file()
    assert registry.resolve(settings, "mine") == before and registry.verify(before) == []


def test_weights_that_lack_a_tensor_are_refused_with_its_name(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    path = make_checkpoint(tmp_path / "m", d_model=32, heads=2)
    tensors = load_file(path / "model.safetensors")
    del tensors["model.decoder.layers.1.fc2.weight"]
    save_file(tensors, path / "model.safetensors")
    settings = settings_in(tmp_path)
    with pytest.raises(ModelUnavailable, match=r"no tensor model\.decoder\.layers\.1\.fc2\.weight"):
        ct2.load(settings, registry.resolve(settings, str(path)))
    assert not list(path.glob(".ct2-*.tmp-*"))


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    path = make_checkpoint(tmp_path / "m", d_model=32, heads=2)
    (path / "model.safetensors").write_bytes((path / "model.safetensors").read_bytes()[:5000])
    settings = settings_in(tmp_path)
    with pytest.raises(ModelUnavailable):
        ct2.load(settings, registry.resolve(settings, str(path)))


def test_serving_needs_neither_torch_nor_transformers(served: WhisperTranscriber, folder: Path) -> None:
    code = f"""
import sys
import numpy as np
from pathlib import Path
from milo.models import registry
from milo.protocols import DecodeOptions
from milo.engines.registry import load_transcriber
from milo.settings import Settings
settings = Settings(home=Path({str(folder.parent)!r}), cpu_threads=1, device="cpu", _env_file=None)
engine = load_transcriber(settings, registry.resolve(settings, {str(folder)!r}))
engine.transcribe([np.random.default_rng(0).standard_normal(20000).astype(np.float32)], DecodeOptions())
print([name for name in ("torch", "transformers") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- settings ---


def test_a_compute_type_the_machine_can_not_do_is_refused_with_those_it_can(folder: Path) -> None:
    settings = settings_in(folder.parent, stt_compute_type="float8")
    with pytest.raises(Invalid, match="MILO_STT_COMPUTE_TYPE=float8.*float32"):
        load_transcriber(settings, registry.resolve(settings, str(folder)))


@pytest.mark.parametrize("engine", ["ctranslate2", "transformers"])
def test_a_gpu_that_is_not_there_is_named(folder: Path, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctranslate2.get_cuda_device_count", lambda: 0)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    settings = Settings(home=folder.parent, device="cuda", stt_engine=engine, _env_file=None)
    with pytest.raises(Invalid, match="MILO_DEVICE=cuda"):
        load_transcriber(settings, registry.resolve(settings, str(folder)))


def test_int8_runs_and_is_near(served: WhisperTranscriber, folder: Path) -> None:
    settings = settings_in(folder.parent, stt_compute_type="int8")
    engine = load_transcriber(settings, registry.resolve(settings, str(folder)))
    options = DecodeOptions(temperatures=(0.0,), language="mg", word_timestamps=False)
    (ours,), (exact,) = engine.transcribe(WINDOWS[1:2], options), served.transcribe(WINDOWS[1:2], options)
    assert ours.no_speech_prob == pytest.approx(exact.no_speech_prob, abs=0.05)


def test_results_name_the_model_and_its_version(served: WhisperTranscriber, folder: Path) -> None:
    resolved = registry.resolve(settings_in(folder.parent), str(folder))
    assert served.name == f"lively@{resolved.version}"
    assert (served.max_window_s, served.pack_window_s) == (30, 8)
    assert set(served.languages) == {"mg", "fr", "en"}
    assert json.loads(json.dumps(served.size_bytes)) > 0
