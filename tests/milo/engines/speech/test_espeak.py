"""eSpeak NG through ctypes: the real library, real samples."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from milo.engines.speech import espeak
from milo.errors import Invalid

pytest.importorskip("espeakng_loader")
TEXT = "Manao ahoana tompoko, ohatrinona ny vary?"


def test_malagasy_is_audible_and_its_words_are_timed() -> None:
    speech = espeak.synthesize_malagasy(TEXT)
    assert speech.samples.dtype == np.int16
    assert 1.5 < speech.duration_s < 6
    assert np.abs(speech.samples).max() > 3000
    assert len(speech.word_starts_s) == len(TEXT.split())
    assert speech.word_starts_s == sorted(speech.word_starts_s)
    assert speech.word_starts_s[-1] < speech.duration_s


def test_a_request_does_not_depend_on_the_settings_of_the_one_before() -> None:
    first = espeak.synthesize_malagasy(TEXT, variant="f2", pitch=40)
    espeak.synthesize("something else", voice="en", rate_wpm=300, pitch=99, volume=30)
    again = espeak.synthesize_malagasy(TEXT, variant="f2", pitch=40)
    assert again.duration_s == pytest.approx(first.duration_s, rel=0.02)
    loudness = [float(np.sqrt((s.samples.astype(float) ** 2).mean())) for s in (first, again)]
    assert loudness[1] == pytest.approx(loudness[0], rel=0.1)


def test_voices_timbres_speed_and_pitch_change_what_is_heard() -> None:
    plain = espeak.synthesize_malagasy(TEXT)
    for options in ({"voice": "it"}, {"variant": "m3"}, {"rate_wpm": 250}, {"pitch": 90}):
        assert not np.array_equal(plain.samples, espeak.synthesize_malagasy(TEXT, **options).samples)
    assert espeak.synthesize_malagasy(TEXT, rate_wpm=300).duration_s < plain.duration_s


def test_many_threads_do_not_disturb_one_another() -> None:
    def speak(number: int) -> float:
        return espeak.synthesize_malagasy(TEXT, voice="id", rate_wpm=(120, 300)[number % 2]).duration_s

    slow, fast = speak(0), speak(1)
    with ThreadPoolExecutor(8) as pool:
        spoken = list(pool.map(speak, range(32)))
    assert spoken[0::2] == [pytest.approx(slow, rel=0.02)] * 16
    assert spoken[1::2] == [pytest.approx(fast, rel=0.02)] * 16


@pytest.mark.parametrize("text", ["", " ", "🎉", "漢字", "\0", "[[", "\ud800"])
def test_text_without_words_does_no_harm(text: str) -> None:
    assert espeak.synthesize_malagasy(text).duration_s < 1
    espeak.synthesize(text, voice="en")


@pytest.mark.parametrize(
    "options",
    [
        {"voice": "klingon"},
        {"voice": "../../etc/passwd"},
        {"variant": "../f1"},
        {"rate_wpm": 10},
        {"pitch": 100},
        {"volume": -1},
    ],
)
def test_a_wrong_option_is_refused_by_name(options: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        espeak.synthesize("roa", **options)  # type: ignore[arg-type]


def test_a_text_that_is_too_long_is_refused() -> None:
    with pytest.raises(Invalid, match="characters"):
        espeak.synthesize("a" * (espeak.MAX_TEXT_CHARS + 1))


def test_every_sound_of_malagasy_is_in_the_voice_that_speaks_it() -> None:
    table = espeak.phoneme_table(espeak.voices()[espeak.MALAGASY_VOICE])
    assert {"a", "e", "i", "u", "aI", "aU", "ts", "s.", "z.", "N"} <= table
    with pytest.raises(Invalid):
        espeak.phoneme_table("no such table")


def loaded_anew() -> None:
    """The library is in its first state, loaded behind the last answer."""
    espeak._loader().submit(int).result(20)
    assert espeak._library and not espeak._library.spoke


def test_the_first_state_is_there_before_the_next_text_whatever_its_voice() -> None:
    def say(voice: str, variant: str | None) -> bytes:
        return espeak.synthesize("one two three", voice=voice, variant=variant, fresh=True).samples.tobytes()

    voices = (("en", None), ("fr", None), ("en", "f3"), ("en", None))
    first = {}
    for voice in voices:
        with espeak._lock:
            espeak._forget_library()
        first[voice] = say(*voice)
        loaded_anew()
    espeak.synthesize("something else", voice="en")
    for voice in (*voices, *voices[:1] * 2):
        assert say(*voice) == first[voice]
        loaded_anew()
    assert espeak._library and espeak._library.voice == "en"
