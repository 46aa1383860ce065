"""What the settings name is looked at before anybody asks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from milo.configured import Configured, look, require, unusable
from milo.errors import ModelUnavailable
from milo.settings import Settings


def folder_of(path: Path, model_type: str) -> Path:
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"model_type": model_type}))
    (path / "tokenizer.json").write_text("{}")
    save_file({"w": np.zeros(1000, np.float32)}, path / "model.safetensors")
    return path


def of(settings: Settings, part: str) -> Configured:
    return next(one for one in look(settings) if one.part == part)


def test_the_models_that_milo_brings_can_serve(tmp_path: Path) -> None:
    assert [one.problem for one in look(Settings(home=tmp_path, _env_file=None)) if not one.usable] == []


@pytest.mark.parametrize("part", ["stt", "tts", "translate", "chat"])
def test_what_is_missing_or_of_another_family_is_said(part: str, tmp_path: Path) -> None:
    other = folder_of(tmp_path / "Other", "bert")
    field = f"{part}_model"
    for name, said in ((str(tmp_path / "nothing"), "nothing"), (str(other), "Other")):
        settings = Settings(home=tmp_path / "home", _env_file=None, **{field: name})
        one = of(settings, part)
        assert one.problem and said in one.problem and not one.usable
        assert one.public and str(tmp_path) not in one.public
        assert any(sentence.startswith(f"MILO_{field.upper()}={name}: ") for sentence in unusable(settings))
        with pytest.raises(ModelUnavailable, match=f"MILO_{field.upper()}"):
            require(settings, part)


def test_a_name_that_differs_in_case_is_told_the_right_one(tmp_path: Path) -> None:
    (tmp_path / "Mistral-7B.Q4_K_M.gguf").write_bytes(b"GGUF")
    folder_of(tmp_path / "Whisper-MG", "whisper")
    chat, stt = str(tmp_path / "mistral-7b.q4_k_m.gguf"), str(tmp_path / "whisper-mg")
    settings = Settings(home=tmp_path / "home", chat_model=chat, stt_model=stt, _env_file=None)
    assert "Did you mean Mistral-7B.Q4_K_M.gguf?" in str(of(settings, "chat").public)
    assert "Did you mean Whisper-MG?" in str(of(settings, "stt").public)


def test_weights_that_are_cut_off_and_files_that_are_no_model_are_told(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "cut", "whisper")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    (tmp_path / "text.gguf").write_text("this is no model, only a text file of some length")
    settings = Settings(
        home=tmp_path / "home", stt_model=str(folder), chat_model=str(tmp_path / "text.gguf"), _env_file=None
    )
    assert "100 bytes of its weights are missing" in str(of(settings, "stt").problem)
    assert "is no GGUF file" in str(of(settings, "chat").problem)


def test_a_hub_id_is_fetched_later_and_offline_never(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, tts_model="nobody/voice-of-a-test", _env_file=None)
    one = of(settings, "tts")
    assert one.fetched and one.usable and "milo models pull nobody/voice-of-a-test" in str(one.problem)
    require(settings, "tts")
    offline = of(settings.model_copy(update={"offline": True}), "tts")
    assert not offline.usable and "MILO_OFFLINE" in str(offline.problem)


def test_a_glossary_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "words.tsv"
    settings = Settings(home=tmp_path, translate_glossary=path, _env_file=None)
    assert "No such file" in str(of(settings, "glossary").problem)
    path.write_text("mg\tfr\nsalama\tbonjour\n")
    assert of(settings, "glossary").problem is None


def test_cloud_without_a_key_is_said(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, default_mode="cloud", anthropic_api_key="sk-ant-xxxxx", _env_file=None)
    assert any("MILO_DEFAULT_MODE is cloud" in sentence for sentence in unusable(settings))
