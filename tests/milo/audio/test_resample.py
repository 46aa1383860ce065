from __future__ import annotations

import numpy as np
import pytest

from milo.audio.resample import change_tempo, resample
from milo.protocols import Samples


def tone(hz: float, seconds: float, rate_hz: int) -> Samples:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def pitch(samples: Samples, rate_hz: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * rate_hz / len(samples))


@pytest.mark.parametrize("to_hz", [8000, 16000, 24000, 44100, 48000])
def test_another_rate_keeps_pitch_and_length(to_hz: int) -> None:
    out = resample(tone(440, 1.0, 22050), 22050, to_hz)
    assert out.dtype == np.float32
    assert abs(len(out) - to_hz) <= 1
    assert pitch(out, to_hz) == pytest.approx(440, abs=2)


@pytest.mark.parametrize("factor", [0.25, 0.4, 0.5, 0.9, 1.1, 2.0, 3.0, 4.0])
def test_another_tempo_keeps_the_pitch_and_divides_the_length(factor: float) -> None:
    out = change_tempo(tone(440, 2.0, 16000), 16000, factor)
    assert len(out) == pytest.approx(2 * 16000 / factor, rel=0.03)
    assert pitch(out, 16000) == pytest.approx(440, abs=5)
    assert np.array_equal(out, change_tempo(tone(440, 2.0, 16000), 16000, factor))


def test_nothing_stays_nothing() -> None:
    nothing = np.zeros(0, np.float32)
    assert len(resample(nothing, 16000, 8000)) == len(change_tempo(nothing, 16000, 2)) == 0


@pytest.mark.parametrize("count", [1, 10, 500])
def test_a_few_samples_do_not_fail(count: int) -> None:
    few = tone(440, 1.0, 16000)[:count]
    assert np.isfinite(change_tempo(few, 16000, 3.5)).all()
    assert np.isfinite(resample(few, 16000, 48000)).all()
