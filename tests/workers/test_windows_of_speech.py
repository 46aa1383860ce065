"""How an utterance of a conversation is given to the engine."""

from __future__ import annotations

import numpy as np

from milo.protocols import FakeTranscriber
from tests.support.speech_factory import spoken
from workers.conversation.hearing import windows_of

RATE_HZ = 16_000


class Short(FakeTranscriber):
    pack_window_s = 3.0


def utterance(sentences: int) -> np.ndarray:
    pause = np.zeros(RATE_HZ // 2, np.float32)
    parts = [part for number in range(sentences) for part in (spoken(number), pause)]
    return (np.concatenate(parts) * 32767).astype(np.int16)


def test_several_sentences_are_cut_at_their_pauses_for_a_model_of_short_windows() -> None:
    pcm = utterance(8)
    windows = windows_of(pcm, Short())
    assert len(pcm) > 12 * RATE_HZ and len(windows) >= 4
    assert max(len(window) for window in windows) <= 4 * RATE_HZ
    assert sum(len(window) for window in windows) > 0.6 * len(pcm)


def test_what_fits_the_model_and_what_the_detector_does_not_hear_goes_to_it_whole() -> None:
    pcm = utterance(8)
    assert [len(window) for window in windows_of(pcm, FakeTranscriber())] == [len(pcm)]
    noise = np.random.default_rng(0).integers(-300, 300, 35 * RATE_HZ).astype(np.int16)
    assert [len(window) for window in windows_of(noise, Short())] == [30 * RATE_HZ, 5 * RATE_HZ]
