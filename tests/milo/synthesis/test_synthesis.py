"""Sentence-wise synthesis: with a voice that can be measured, and with the embedded one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice

import jiwer
import numpy as np
import pytest

from milo.audio.encode import FORMATS, encode
from milo.audio.resample import resample
from milo.engines.registry import load_transcriber
from milo.engines.speech.espeak_synthesizer import EspeakSynthesizer
from milo.errors import EngineError, Invalid
from milo.models.registry import resolve
from milo.protocols import DecodeOptions, Samples, Synthesizer
from milo.settings import Settings
from milo.synthesis.synthesis import PEAK, speak, synthesize
from milo.training.scoring import normalise_for_scoring
from trainer.corpus.phrasebook import sentences as phrasebook

LOUD = "Salama tompoko."


@dataclass
class ToneSynthesizer:
    """Says each sentence as 0.5 s of a tone between two silences of 0.2 s; the peak may be given by sentence."""

    peaks: dict[str, float] = field(default_factory=dict)
    name: str = "tone@0"
    sample_rate_hz: int = 16_000
    languages: Sequence[str] = ("mg", "fr")
    voices: Sequence[str] = ("one", "two")
    heard: list[str] = field(default_factory=list)

    def synthesize(self, text: str, *, language: str, voice: str | None = None, speed: float = 1.0) -> Samples:
        self.heard.append(text)
        peak = self.peaks.get(text, 0.3)
        tone = peak * np.sin(2 * np.pi * 440 * np.arange(8000) / 16000 + 1.0)
        return np.pad(tone, 3200).astype(np.float32)


@pytest.fixture
def tone() -> ToneSynthesizer:
    return ToneSynthesizer()


@pytest.fixture(scope="module")
def voice() -> EspeakSynthesizer:
    return EspeakSynthesizer()


def test_each_sentence_is_a_chunk_and_the_first_is_made_alone(tone: ToneSynthesizer) -> None:
    synth: Synthesizer = tone
    chunks = synthesize(synth, "Salama. Taona 2024 izao! Veloma.")
    next(chunks)
    assert tone.heard == ["Salama."]
    assert len(list(chunks)) == 2
    assert tone.heard[1:] == ["Taona roa arivo efatra amby roapolo izao!", "Veloma."]


def test_closing_the_iterator_stops_the_synthesis(tone: ToneSynthesizer) -> None:
    chunks = synthesize(tone, "Iray. Roa. Telo.")
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]
    assert tone.heard == ["Iray."]


def test_speak_is_all_chunks_joined(tone: ToneSynthesizer) -> None:
    text = "Iray. Roa, telo. Efatra?"
    assert np.array_equal(speak(tone, text), np.concatenate(list(synthesize(tone, text))))


def test_the_engines_silence_is_replaced_by_pauses_of_our_own(tone: ToneSynthesizer) -> None:
    first, last = synthesize(tone, "Salama. Veloma.")
    assert len(last) / 16000 == pytest.approx(0.5 + 2 * 0.03, abs=0.01)
    assert len(first) / 16000 == pytest.approx(0.5 + 2 * 0.03 + 0.35, abs=0.01)
    assert not np.any(first[-round(0.35 * 16000) :])


def test_pauses_shrink_with_speed(tone: ToneSynthesizer) -> None:
    slow, fast = (next(iter(synthesize(tone, "Salama. Veloma.", speed=speed))) for speed in (0.5, 2.0))
    assert len(slow) - len(fast) == pytest.approx((0.7 - 0.175) * 16000, abs=2)


def test_nothing_clicks_where_sentences_meet(voice: EspeakSynthesizer) -> None:
    audio = speak(voice, "Salama tompoko. Manao ahoana ianareo rehetra? Tsara fa misaotra!", sample_rate_hz=16000)
    silence = np.flatnonzero(np.abs(audio) == 0)
    edges = silence[np.flatnonzero(np.diff(silence) > 1)]
    steps = np.abs(np.diff(audio))
    for edge in (0, *edges, len(audio) - 2):
        assert steps[max(0, edge - 3) : edge + 3].max(initial=0.0) < 0.01
    assert audio[0] == pytest.approx(0, abs=1e-3)
    assert audio[-1] == pytest.approx(0, abs=1e-3)


def test_the_level_is_the_same_for_a_quiet_and_a_loud_engine() -> None:
    for peak in (0.05, 0.3, 1.0, 3.0):
        audio = speak(ToneSynthesizer({LOUD: peak}), LOUD)
        assert float(np.abs(audio).max()) == pytest.approx(min(PEAK, 20 * peak), rel=0.02)


def test_a_louder_sentence_is_brought_down_and_a_quieter_one_not_up() -> None:
    synth = ToneSynthesizer({"Iray.": 0.5, "Roa.": 0.1, "Telo.": 1.0, "Efatra.": 0.5})
    peaks = [float(np.abs(chunk).max()) for chunk in synthesize(synth, "Iray. Roa. Telo. Efatra.")]
    assert peaks == pytest.approx([PEAK, PEAK / 5, PEAK, PEAK / 2], rel=0.02)


@pytest.mark.parametrize("rate_hz", [8000, 16000, 22050, 24000, 44100, 48000])
def test_any_sample_rate_is_honoured_without_clipping(voice: EspeakSynthesizer, rate_hz: int) -> None:
    own = speak(voice, "Salama tompoko.")
    audio = speak(voice, "Salama tompoko.", sample_rate_hz=rate_hz)
    assert audio.dtype == np.float32
    assert len(audio) / rate_hz == pytest.approx(len(own) / voice.sample_rate_hz, abs=0.01)
    assert 0.5 < float(np.abs(audio).max()) <= PEAK + 1e-6


@pytest.mark.parametrize("speed", [0.25, 1.5, 4.0])
def test_speed_is_honoured(voice: EspeakSynthesizer, speed: float) -> None:
    text = "Salama tompoko, manao ahoana ianareo. Tsara fa misaotra."
    assert len(speak(voice, text)) / len(speak(voice, text, speed=speed)) == pytest.approx(speed, rel=0.15)


@pytest.mark.parametrize("format", FORMATS)
def test_every_file_format_takes_what_is_spoken(voice: EspeakSynthesizer, format: str) -> None:
    audio = speak(voice, "Salama.", sample_rate_hz=24000)
    assert len(encode(audio, 24000, format)) > 500


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "empty_text"),
        (" \n\t\u00a0", "empty_text"),
        ("😀 👍", "nothing_to_speak"),
        ("...!?", "nothing_to_speak"),
        ("<br/><b></b>", "nothing_to_speak"),
        ("\ud800", "nothing_to_speak"),
        ("a" * 501, "text_too_long"),
    ],
)
def test_text_that_can_not_be_spoken_is_refused_before_anything_is_made(
    tone: ToneSynthesizer, text: str, code: str
) -> None:
    with pytest.raises(Invalid) as refused:
        synthesize(tone, text)
    assert refused.value.code == code
    assert refused.value.status == 422
    assert tone.heard == []


@pytest.mark.parametrize(
    ("options", "code", "names"),
    [
        ({"language": "xx"}, "unknown_language", "mg, fr"),
        ({"voice": "nobody"}, "unknown_voice", "one, two"),
        ({"speed": 4.1}, "bad_speed", "0.25 to 4"),
        ({"speed": float("nan")}, "bad_speed", "0.25 to 4"),
        ({"sample_rate_hz": 4000}, "bad_sample_rate", "8000 to 48000"),
        ({"sample_rate_hz": 10**9}, "bad_sample_rate", "8000 to 48000"),
        ({"max_chars": 5}, "text_too_long", "15 characters; at most 5"),
    ],
)
def test_a_wrong_option_is_refused_with_what_would_be_right(
    tone: ToneSynthesizer, options: dict[str, object], code: str, names: str
) -> None:
    with pytest.raises(Invalid) as refused:
        synthesize(tone, LOUD, **options)  # type: ignore[arg-type]
    assert refused.value.code == code
    assert names in refused.value.detail


def test_an_engine_that_gives_no_numbers_is_an_error() -> None:
    with pytest.raises(EngineError):
        speak(ToneSynthesizer({LOUD: float("nan")}), LOUD)


def test_an_engine_without_a_sound_for_the_text_says_so() -> None:
    with pytest.raises(Invalid) as refused:
        speak(ToneSynthesizer({LOUD: 0.0}), LOUD)
    assert refused.value.code == "nothing_to_speak"


def test_the_number_order_is_a_choice(tone: ToneSynthesizer) -> None:
    speak(tone, "2024", order="traditional")
    assert tone.heard == ["efatra amby roapolo sy roa arivo"]


def test_a_sentence_without_an_end_is_cut_for_the_voice(tone: ToneSynthesizer) -> None:
    speak(tone, "ny mpianatra dia mianatra tsara " * 120, max_chars=4096)
    assert len(tone.heard) > 15
    assert max(map(len, tone.heard)) <= 200


HEARD = list(islice((sentence.text for sentence in phrasebook(11, "mg", "heldout")), 24))


@pytest.fixture(scope="module")
def word_errors() -> Callable[[list[Samples]], float]:
    """WER of milo-tiny-mg on the sentences of `HEARD`, given as audio at 16 kHz."""
    settings = Settings(_env_file=None, device="cpu", cpu_threads=1)
    ears = load_transcriber(settings, resolve(settings, "milo-tiny-mg"))
    options = DecodeOptions(language="mg", word_timestamps=False, temperatures=(0.0,))

    def measure(windows: list[Samples]) -> float:
        heard = [normalise_for_scoring(found.text) for found in ears.transcribe(windows, options)]
        return float(jiwer.wer([normalise_for_scoring(text) for text in HEARD], heard))

    return measure


def test_cleaning_joining_and_levelling_cost_no_words(
    voice: EspeakSynthesizer, word_errors: Callable[[list[Samples]], float]
) -> None:
    bare = [resample(voice.synthesize(text, language="mg"), voice.sample_rate_hz, 16000) for text in HEARD]
    assert word_errors([speak(voice, text, sample_rate_hz=16000) for text in HEARD]) <= word_errors(bare) + 0.05


def test_what_is_spoken_is_heard_again(voice: EspeakSynthesizer, word_errors: Callable[[list[Samples]], float]) -> None:
    assert word_errors([speak(voice, text, sample_rate_hz=16000) for text in HEARD]) < 0.15
