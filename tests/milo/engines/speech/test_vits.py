"""VITS through our own loader against transformers' own, on a tiny model; and models that can't be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milo.engines.registry import find_voice_model, load_synthesizer
from milo.engines.speech.vits import SEED, VitsSynthesizer, load
from milo.errors import EngineError, Invalid, ModelUnavailable
from milo.models.registry import resolve
from milo.settings import Settings
from tests.milo.engines.speech.vits_models import LETTERS, write_vits

TEXT = "manao ahoana tompoko"


def settings_of(home: Path) -> Settings:
    return Settings(_env_file=None, home=home, device="cpu", offline=True, cpu_threads=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vits(tmp_path_factory.mktemp("vits") / "mms-tiny")


@pytest.fixture(scope="module")
def synth(folder: Path) -> VitsSynthesizer:
    settings = settings_of(folder.parent)
    return load(settings, resolve(settings, str(folder)))


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    target = tmp_path / "copy"
    target.mkdir()
    for file in folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


def load_folder(folder: Path) -> VitsSynthesizer:
    settings = settings_of(folder.parent)
    return load(settings, resolve(settings, str(folder)))


def reference(folder: Path, text: str, rate: float = 1.0) -> np.ndarray[Any, Any]:
    """What transformers itself says: its own loading, its own tokenizer rules, the same seed."""
    import torch
    from transformers import VitsModel

    model = VitsModel.from_pretrained(folder).eval()
    ids = [0]
    for letter in text:
        ids += [LETTERS.index(letter), 0]
    with torch.inference_mode(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return np.asarray(model(torch.tensor([ids]), speaking_rate=rate).waveform[0].numpy())


def test_it_says_what_transformers_says(synth: VitsSynthesizer, folder: Path) -> None:
    audio = synth.synthesize(TEXT, language="mg")
    assert audio.dtype == np.float32
    np.testing.assert_allclose(audio, reference(folder, TEXT), atol=1e-5)


def test_tokens_are_those_of_the_stock_tokenizer(synth: VitsSynthesizer, folder: Path) -> None:
    from transformers import VitsTokenizer

    text = "manao ahoana, ry tovolahy"
    assert synth.tokens.encode(text.replace(",", "")) == VitsTokenizer.from_pretrained(folder)(text)["input_ids"]


def test_it_knows_its_rate_language_and_voice(synth: VitsSynthesizer) -> None:
    assert synth.sample_rate_hz == 16_000
    assert list(synth.languages) == ["mg"]
    assert list(synth.voices) == ["speaker-0"]
    assert synth.name.startswith("mms-tiny@")
    assert synth.size_bytes > 100_000


def test_a_sentence_sounds_the_same_whatever_came_before(synth: VitsSynthesizer) -> None:
    import torch

    first = synth.synthesize(TEXT, language="mg")
    torch.manual_seed(7)
    synth.synthesize("zavatra hafa", language="mg", speed=1.3)
    assert np.array_equal(first, synth.synthesize(TEXT, language="mg"))


def test_speaking_leaves_the_random_state_of_others_alone(synth: VitsSynthesizer) -> None:
    import torch

    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    synth.synthesize(TEXT, language="mg")
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("speed", [0.25, 0.5, 0.75, 1.5, 2.0, 4.0])
def test_speed_changes_the_length_as_much(synth: VitsSynthesizer, speed: float) -> None:
    plain = len(synth.synthesize(TEXT, language="mg"))
    assert plain / len(synth.synthesize(TEXT, language="mg", speed=speed)) == pytest.approx(speed, rel=0.05)


def test_letters_it_was_not_trained_on_become_the_nearest(synth: VitsSynthesizer) -> None:
    same = synth.synthesize("koka kola sine", language="mg")
    assert np.array_equal(same, synth.synthesize("Coca, Cola: Ciné!", language="mg"))
    assert len(synth.synthesize("Привет", language="mg")) > 0


def test_text_without_a_letter_gives_nothing(synth: VitsSynthesizer) -> None:
    assert len(synth.synthesize(" ... - ' ", language="mg")) == 0


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"language": "fr"}, "unknown_language"),
        ({"language": "mg", "voice": "f1"}, "unknown_voice"),
        ({"language": "mg", "speed": 9.0}, "bad_speed"),
        ({"language": "mg", "text": "a" * 1001}, "text_too_long"),
    ],
)
def test_what_it_does_not_have_is_refused(synth: VitsSynthesizer, options: dict[str, Any], code: str) -> None:
    with pytest.raises(Invalid) as refused:
        synth.synthesize(**({"text": TEXT} | options))
    assert refused.value.code == code


def test_a_model_of_several_speakers_offers_each(tmp_path: Path) -> None:
    synth = load_folder(write_vits(tmp_path / "many", speakers=3))
    assert list(synth.voices) == ["speaker-0", "speaker-1", "speaker-2"]
    first, other = (synth.synthesize(TEXT, language="mg", voice=voice) for voice in (None, "speaker-2"))
    assert len(first) != len(other) or not np.array_equal(first, other)
    assert np.array_equal(first, synth.synthesize(TEXT, language="mg", voice="speaker-0"))


@pytest.mark.parametrize(
    ("said", "name", "language"),
    [
        ("eng", "x", "en"),
        ("mlg", "x", "mg"),
        ("bcl", "x", "bcl"),
        ("", "mms-tts-fra", "fr"),
        (None, "milo-voice", "mg"),
    ],
)
def test_the_language_is_the_one_the_tokenizer_names(
    copy: Path, tmp_path: Path, said: str | None, name: str, language: str
) -> None:
    change(copy / "tokenizer_config.json", language=said)
    named = copy.rename(tmp_path / name)
    assert list(load_folder(named).languages) == [language]


def change(file: Path, **values: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def rewrite_weights(folder: Path, edit: Any) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    state = edit(load_file(path))
    path.unlink()
    save_file({name: value.contiguous() for name, value in state.items()}, path)


def test_the_old_layout_of_weight_norm_loads_too(copy: Path, folder: Path) -> None:
    def old(state: dict[str, Any]) -> dict[str, Any]:
        part = ".parametrizations.weight.original"
        return {k.replace(f"{part}0", ".weight_g").replace(f"{part}1", ".weight_v"): v for k, v in state.items()}

    rewrite_weights(copy, old)
    assert any(".weight_g" in name for name in _names(copy))
    np.testing.assert_allclose(load_folder(copy).synthesize(TEXT, language="mg"), reference(folder, TEXT), atol=1e-5)


def test_a_checkpoint_whose_decoder_kept_its_weight_norm_loads_too(copy: Path, folder: Path) -> None:
    def normed(state: dict[str, Any]) -> dict[str, Any]:
        changed = {}
        for name, value in state.items():
            if name.startswith("decoder.") and name.endswith(".weight"):
                norm = value.flatten(1).norm(dim=1).reshape(-1, *[1] * (value.ndim - 1))
                changed |= {name[:-7] + ".weight_g": norm, name[:-7] + ".weight_v": 3 * value}
            else:
                changed[name] = value
        return changed

    rewrite_weights(copy, normed)
    np.testing.assert_allclose(load_folder(copy).synthesize(TEXT, language="mg"), reference(folder, TEXT), atol=1e-4)


def test_half_precision_weights_and_those_of_training_are_no_hindrance(copy: Path) -> None:
    import torch

    def halved(state: dict[str, Any]) -> dict[str, Any]:
        kept = {k: v.half() for k, v in state.items() if not k.startswith("posterior_encoder.")}
        return kept | {"discriminator.discriminators.0.convs.0.weight": torch.zeros(2, 2)}

    rewrite_weights(copy, halved)
    assert len(load_folder(copy).synthesize(TEXT, language="mg")) > 0


def _names(folder: Path) -> list[str]:
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "pt") as file:
        return list(file.keys())


@pytest.mark.parametrize(
    ("file", "values", "sentence"),
    [
        ("tokenizer_config.json", {"is_uroman": True}, "uroman"),
        ("tokenizer_config.json", {"phonemize": True}, "phonemizer"),
        ("config.json", {"model_type": "whisper"}, "is a whisper model"),
        ("config.json", {"vocab_size": 99}, "do not belong together"),
        ("config.json", {"upsample_rates": [8, 8]}, "config.json of"),
        ("vocab.json", {"ß": 500}, "has a token 500"),
    ],
)
def test_a_model_that_can_not_be_used_is_refused_with_a_sentence(
    copy: Path, file: str, values: dict[str, object], sentence: str
) -> None:
    change(copy / file, **values)
    with pytest.raises(ModelUnavailable, match=sentence):
        load_folder(copy)


@pytest.mark.parametrize("name", ["vocab.json", "tokenizer_config.json", "config.json", "model.safetensors"])
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(ModelUnavailable, match=name.replace(".", r"\.") + "|no config.json"):
        load_folder(copy)


def test_tokenizer_files_of_the_run_serve_its_checkpoint(copy: Path, tmp_path: Path) -> None:
    checkpoint = copy / "checkpoint-10"
    checkpoint.mkdir()
    for name in ("config.json", "model.safetensors"):
        (copy / name).rename(checkpoint / name)
    assert len(load_folder(checkpoint).synthesize(TEXT, language="mg")) > 0


def test_missing_or_cut_weights_are_errors_and_not_random_numbers(copy: Path) -> None:
    rewrite_weights(copy, lambda state: {k: v for k, v in state.items() if k != "decoder.conv_post.weight"})
    with pytest.raises(ModelUnavailable, match=r"lacks 1 of its .* decoder\.conv_post\.weight"):
        load_folder(copy)
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(ModelUnavailable, match="is damaged"):
        load_folder(copy)


def test_the_vocabulary_of_another_kind_of_model_is_refused(copy: Path) -> None:
    (copy / "vocab.json").write_text(json.dumps({"hello": 0, "Ġworld": 1}))
    with pytest.raises(ModelUnavailable, match="has no letters"):
        load_folder(copy)


@pytest.mark.parametrize(
    ("part", "value"), [("decoder.conv_post.weight", float("nan")), ("duration_predictor.conv_pre.bias", float("nan"))]
)
def test_numbers_that_are_none_are_an_engine_error(copy: Path, part: str, value: float) -> None:
    rewrite_weights(copy, lambda state: {k: v * value if k == part else v for k, v in state.items()})
    with pytest.raises(EngineError):
        load_folder(copy).synthesize(TEXT, language="mg")


def test_a_runaway_duration_is_stopped_before_it_fills_the_memory(copy: Path) -> None:
    rewrite_weights(
        copy, lambda state: {k: v - 60 if k == "duration_predictor.flows.0.translate" else v for k, v in state.items()}
    )
    with pytest.raises(EngineError, match="frames"):
        load_folder(copy).synthesize(TEXT, language="mg")


def test_the_setting_names_the_model(folder: Path) -> None:
    settings = settings_of(folder.parent).model_copy(update={"tts_model": str(folder)})
    synth = load_synthesizer(settings, find_voice_model(settings))
    assert isinstance(synth, VitsSynthesizer)
    synth.close()
    assert synth.model is None
    with pytest.raises(ModelUnavailable):
        find_voice_model(settings, "facebook/mms-tts-none")


def test_the_variable_of_the_first_platform_still_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMS_TTS_MODEL_ID", "facebook/mms-tts-mlg")
    assert Settings(_env_file=None).tts_model == "facebook/mms-tts-mlg"
