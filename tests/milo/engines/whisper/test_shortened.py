"""A stock Whisper in windows shorter than it was trained for: what they may not change."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from milo.engines.whisper.checkpoint import Checkpoint, load_checkpoint
from milo.engines.whisper.transcriber import WhisperTranscriber
from milo.models import registry
from milo.protocols import DecodeOptions
from milo.settings import Settings
from tests.milo.engines.whisper.test_transcriber import ONCE, FakeBackend, noise, words_of
from tests.milo.engines.whisper.whisper_models import make_checkpoint

FALLBACK = DecodeOptions(language="mg", temperatures=(0.0, 0.2), word_timestamps=False)


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = tmp_path_factory.mktemp("models")
    path = make_checkpoint(folder / "stock")
    return load_checkpoint(Settings(home=folder, _env_file=None), registry.resolve(Settings(home=folder), str(path)))


def test_windows_are_as_short_as_what_is_said_and_a_second_of_silence(stock: Checkpoint) -> None:
    backend = FakeBackend(stock)
    engine = WhisperTranscriber(stock, backend, min_window_s=5)
    heard = engine.transcribe([noise(s) for s in (1.0, 9.0, 9.5, 4.0, 29.5)], ONCE)
    assert backend.batches == [(1, 3000), (1, 1200), (1, 1000), (2, 500)]
    assert [int(text) / 10 for text in words_of(heard)] == pytest.approx([1.0, 9.0, 9.5, 4.0, 29.5], abs=0.11)


@pytest.mark.parametrize("seconds", [0.0, 30.0, 60.0])
def test_without_the_setting_a_stock_model_gets_30_seconds(stock: Checkpoint, seconds: float) -> None:
    backend = FakeBackend(stock)
    WhisperTranscriber(stock, backend, min_window_s=seconds).transcribe([noise(1), noise(9)], ONCE)
    assert backend.batches == [(2, 3000)]


class Circling(FakeBackend):
    """In short windows it repeats itself; in 30 s it hears the length, as the fake does."""

    said_short = " eny eny eny eny eny eny eny eny"
    sure = -0.1

    def generate(self, encoded, prompts, max_tokens, beam_size, temperature):  # type: ignore[no-untyped-def]
        said = super().generate(encoded, prompts, max_tokens, beam_size, temperature)
        return said if encoded.shape[-1] == 3000 else [self.said(self.said_short, self.sure)] * len(said)


def test_what_a_guard_rejects_is_decoded_again_as_the_model_was_trained(stock: Checkpoint) -> None:
    backend = Circling(stock)
    engine = WhisperTranscriber(stock, backend, min_window_s=5)
    assert words_of(engine.transcribe([noise(2), noise(3)], FALLBACK)) == ["20", "30"]
    assert backend.batches == [(2, 500), (2, 3000)]
    assert [temperature for temperature, _ in backend.generated] == [0.0, 0.0], "no other temperature is tried short"


def test_silence_in_a_short_window_is_believed_only_in_a_long_one(stock: Checkpoint) -> None:
    class Deaf(Circling):
        def generate(self, encoded, prompts, max_tokens, beam_size, temperature):  # type: ignore[no-untyped-def]
            if encoded.shape[-1] < 3000:
                return [self.said("", -2.0, no_speech=0.9)] * len(prompts)
            return FakeBackend.generate(self, encoded, prompts, max_tokens, beam_size, temperature)

    engine = WhisperTranscriber(stock, Deaf(stock), min_window_s=5)
    assert words_of(engine.transcribe([noise(2)], FALLBACK)) == ["20"]


def test_only_those_of_a_batch_that_the_model_is_not_sure_of_are_decoded_again(stock: Checkpoint) -> None:
    class Mixed(FakeBackend):
        def generate(self, encoded, prompts, max_tokens, beam_size, temperature):  # type: ignore[no-untyped-def]
            said = super().generate(encoded, prompts, max_tokens, beam_size, temperature)
            short = encoded.shape[-1] < 3000
            return [self.said(" mena", -0.4) if short and n == 1 else one for n, one in enumerate(said)]

    backend = Mixed(stock)
    heard = WhisperTranscriber(stock, backend, min_window_s=5).transcribe([noise(s) for s in (2, 2.5, 3)], FALLBACK)
    assert words_of(heard) == ["20", "25", "30"]
    assert backend.batches == [(3, 500), (1, 3000)]
    assert all(math.isclose(text.avg_logprob, -0.1) for text in heard)


def test_decoding_again_halves_what_the_memory_does_not_hold(stock: Checkpoint) -> None:
    backend = Circling(stock, memory_frames=6000)
    backend.frame_budget = 6000
    engine = WhisperTranscriber(stock, backend, min_window_s=5)
    assert words_of(engine.transcribe([noise(2)] * 4, FALLBACK)) == ["20"] * 4
    assert max(rows * frames for rows, frames in backend.batches) <= 6000


def test_a_model_trained_on_short_windows_is_not_padded_further(tmp_path: Path) -> None:
    path = make_checkpoint(tmp_path / "own", milo={"min_window_s": 1.0, "pack_window_s": 8.0})
    own = load_checkpoint(Settings(home=tmp_path, _env_file=None), registry.resolve(Settings(home=tmp_path), str(path)))
    for seconds in (0.0, 1.0, 5.0):
        engine = WhisperTranscriber(own, FakeBackend(own), min_window_s=seconds)
        assert [engine.padded_frames(round(s * 16_000)) for s in (0.5, 1.0, 3.9)] == [100, 100, 400]
    assert np.isfinite(engine.size_bytes)
