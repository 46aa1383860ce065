"""Variables that are settings, and those that do nothing and say so."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from milo.settings import Settings
from milo.variables import IGNORED, explain, names, notices

PROTOTYPE = {
    "API_HOST": ("host", "127.0.0.1"),
    "API_PORT": ("port", 8123),
    "LOG_LEVEL": ("log_level", "WARNING"),
    "API_KEY": ("api_key", "a-key"),
    "REDIS_URL": ("redis_url", "redis://localhost:6379/0"),
    "ANTHROPIC_API_KEY": ("anthropic_api_key", "sk-ant-xxxxx"),
    "CLAUDE_MODEL": ("claude_model", "claude-haiku-4-5"),
    "CLAUDE_TIMEOUT_S": ("first_token_s", 5),
    "LOCAL_LLM_MODEL_PATH": ("chat_model", "/models/mistral.gguf"),
    "LOCAL_LLM_N_GPU_LAYERS": ("n_gpu_layers", -1),
    "WHISPER_MODEL_ID": ("stt_model", "openai/whisper-medium"),
    "NLLB_MODEL_ID": ("translate_model", "facebook/nllb-200-distilled-600M"),
    "MMS_TTS_MODEL_ID": ("tts_model", "facebook/mms-tts-mlg"),
    "DEFAULT_MODE": ("default_mode", "cloud"),
    "SESSION_TTL_S": ("session_ttl_s", 3600),
    "SESSION_MAX_HISTORY": ("session_exchanges", 12),
}
ENV = "".join(f"{name}={value}\n" for name, (_, value) in PROTOTYPE.items()).replace("WARNING", "warning")
ENV += "RATE_LIMIT_FREE=10\nRATE_LIMIT_PRO=100\nPROMETHEUS_ENABLED=true\n"
ENV += 'CORS_ORIGINS=["http://localhost:5173", "http://a:1/"]\n'


@pytest.fixture
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in names():
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / ".env"
    path.write_text(ENV)
    return path


def test_every_variable_of_the_prototype_is_a_setting_or_is_said_to_be_none(env_file: Path) -> None:
    settings = Settings(_env_file=env_file)
    for field, value in PROTOTYPE.values():
        assert getattr(settings, field) == value, field
    assert settings.cors_origins == ["http://localhost:5173", "http://a:1"]
    said = notices({}, env_file)
    assert {notice.level for notice in said} == {"note"}
    text = "\n".join(notice.text for notice in said)
    assert all(f"{name} as MILO_{field.upper()}" in text for name, (field, _) in PROTOTYPE.items())
    assert all(f"does nothing: {why}" in text for why in IGNORED.values())


def test_a_name_of_milo_goes_before_the_prototypes_wherever_it_stands(
    env_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILO_PORT", "9000")
    assert Settings(_env_file=env_file).port == 9000
    said = notices({"MILO_PORT": "9000"}, env_file)
    assert "API_PORT does nothing: MILO_PORT is set, and goes before it" in [notice.text for notice in said]
    assert "API_PORT" not in "".join(one.text for one in notices({"MILO_PORT": "8123"}, env_file)), "the same value"


@pytest.mark.parametrize(
    ("name", "nearest"), [("MILO_STT_MODLE", "MILO_STT_MODEL"), ("MILO_CORS_ORIGIN", "MILO_CORS_ORIGINS")]
)
def test_a_name_that_is_no_setting_is_told_with_the_nearest(name: str, nearest: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"{name}=x\n")
    for outside, inside in (({name: "x"}, None), ({}, tmp_path / ".env")):
        (notice,) = notices(outside, inside)
        assert notice.level == "warning" and f"Did you mean {nearest}?" in notice.text and name in notice.text


def test_names_of_other_programs_in_the_environment_are_none_of_our_business() -> None:
    assert notices({"PATH": "/bin", "MILO_WORKER_NODE": "gpu@x", "MILO_TEST_DATABASE_URL": "x"}, None) == []


@pytest.mark.parametrize("value", ["['http://a']", "http://a http://b", "http://a;http://b", "localhost:5173"])
def test_a_wrong_list_of_origins_is_a_sentence_with_the_right_name(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILO_CORS_ORIGINS", value)
    with pytest.raises(ValidationError) as caught:
        Settings(_env_file=None)
    assert f"MILO_CORS_ORIGINS={value!r}: " in explain(caught.value) and "write" in explain(caught.value)


@pytest.mark.parametrize("name", ["MILO_DEFAULT_MODE", "DEFAULT_MODE"])
def test_the_variable_that_is_wrong_is_named_as_it_was_written(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "clowd")
    with pytest.raises(ValidationError) as caught:
        Settings(_env_file=None)
    assert explain(caught.value) == f"a setting is wrong: {name}='clowd': Input should be 'local' or 'cloud'"
