"""What the front says of a speech model is what the engine itself says."""

from __future__ import annotations

from pathlib import Path

import pytest

from milo.engines.speech import espeak
from milo.engines.speech.espeak_synthesizer import EspeakSynthesizer
from milo.engines.speech.vits import load
from milo.errors import Invalid, ModelUnavailable
from milo.models.registry import resolve
from milo.settings import Settings
from milo.synthesis.voices import ESPEAK_BASES, describe_speech
from tests.milo.engines.speech.vits_models import write_vits


def test_espeak_is_described_as_it_is(settings: Settings) -> None:
    engine, told = EspeakSynthesizer(), describe_speech(settings, "espeak")
    assert (told.languages, told.voices) == (engine.languages, engine.voices)
    assert ESPEAK_BASES["mg"] == espeak.MALAGASY_VOICE


def test_a_vits_folder_is_described_as_it_is(settings: Settings, tmp_path: Path) -> None:
    folder = str(write_vits(tmp_path / "mms-tts-mlg"))
    engine, told = load(settings, resolve(settings, folder)), describe_speech(settings, folder)
    assert (told.languages, told.voices) == (engine.languages, engine.voices) == (("mg",), ("speaker-0",))


def test_what_does_not_speak_is_told_apart(settings: Settings) -> None:
    with pytest.raises(Invalid) as error:
        describe_speech(settings, "milo-tiny-mg")
    assert error.value.code == "unknown_model"
    with pytest.raises(ModelUnavailable):
        describe_speech(settings, "no-such-model")
