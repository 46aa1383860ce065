"""The embedded voice: languages, timbres, speeds, and the same samples every time."""

from __future__ import annotations

import numpy as np
import pytest

from milo.engines.registry import find_voice_model, load_synthesizer
from milo.engines.speech.espeak_synthesizer import EspeakSynthesizer
from milo.errors import Invalid
from milo.settings import Settings

TEXT = "manao ahoana tompoko, tongasoa eto Madagasikara"


@pytest.fixture(scope="module")
def synth() -> EspeakSynthesizer:
    return EspeakSynthesizer()


def test_it_is_the_engine_that_needs_no_download() -> None:
    settings = Settings(_env_file=None, tts_model="espeak", offline=True)
    engine = load_synthesizer(settings, find_voice_model(settings))
    assert isinstance(engine, EspeakSynthesizer)
    assert engine.name.startswith("espeak-ng@")


def test_malagasy_french_and_english_come_first(synth: EspeakSynthesizer) -> None:
    assert list(synth.languages[:3]) == ["mg", "fr", "en"]
    assert {"de", "es", "sw", "zh"} <= set(synth.languages)
    assert len(set(synth.languages)) == len(synth.languages)


@pytest.mark.parametrize("language", ["mg", "fr", "en", "de", "zh"])
def test_each_language_gives_mono_float_audio(synth: EspeakSynthesizer, language: str) -> None:
    audio = synth.synthesize("salama 12", language=language)
    assert audio.dtype == np.float32
    assert audio.ndim == 1
    assert len(audio) > 0.3 * synth.sample_rate_hz
    assert 0.05 < float(np.abs(audio).max()) <= 1.0


def test_the_same_text_gives_the_same_samples_whatever_came_before(synth: EspeakSynthesizer) -> None:
    first = synth.synthesize(TEXT, language="mg", voice="f3")
    synth.synthesize("something else in between", language="en", voice="whisper", speed=1.7)
    assert np.array_equal(first, synth.synthesize(TEXT, language="mg", voice="f3"))


def test_every_voice_sounds_different(synth: EspeakSynthesizer) -> None:
    spoken = {voice: synth.synthesize("salama", language="mg", voice=voice).tobytes() for voice in synth.voices}
    assert len(set(spoken.values())) == len(synth.voices) >= 10


@pytest.mark.parametrize("speed", [0.25, 0.5, 0.8, 1.25, 2.0, 3.0, 4.0])
def test_speed_changes_the_length_as_much(synth: EspeakSynthesizer, speed: float) -> None:
    plain = len(synth.synthesize(TEXT, language="mg"))
    assert plain / len(synth.synthesize(TEXT, language="mg", speed=speed)) == pytest.approx(speed, rel=0.1)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"language": "xx"}, "unknown_language"),
        ({"language": "mg", "voice": "../f1"}, "unknown_voice"),
        ({"language": "mg", "speed": 0.2}, "bad_speed"),
        ({"language": "mg", "speed": float("nan")}, "bad_speed"),
    ],
)
def test_what_it_does_not_have_is_refused(synth: EspeakSynthesizer, options: dict[str, object], code: str) -> None:
    with pytest.raises(Invalid) as refused:
        synth.synthesize(TEXT, **options)  # type: ignore[arg-type]
    assert refused.value.code == code


def test_text_without_a_letter_is_at_most_a_breath(synth: EspeakSynthesizer) -> None:
    for text in ("", "...", "'", "\0"):
        assert len(synth.synthesize(text, language="mg")) < 0.1 * synth.sample_rate_hz
