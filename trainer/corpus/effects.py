"""What happens to a voice between the mouth and the file: room, line, noise, level, coding. Numpy only, seeded.

Everything works on float32 mono at 16 kHz, shape (n,), and keeps the length. Filters are applied as gains on the FFT.
"""

from __future__ import annotations

import io
from typing import cast

import av
import numpy as np
import numpy.typing as npt

RATE_HZ = 16_000
Audio = npt.NDArray[np.float32]
Rng = np.random.Generator


def fft_length(n: int) -> int:
    """The next length >= n that the FFT is quick at: 2^k, 3*2^k, 5*2^k or 9*2^k."""
    return min(m << max(0, int(np.ceil(np.log2(max(n, 1) / m)))) for m in (1, 3, 5, 9))


def resample(samples: npt.NDArray[np.generic], rate_hz: float, target_hz: float = RATE_HZ) -> Audio:
    """Band-limited resampling of a whole utterance through the FFT; (n,) -> (round(n * target / rate),)."""
    n = len(samples)
    if n == 0:
        return np.zeros(0, dtype=np.float32)
    padded = fft_length(n + 512)
    spectrum = np.fft.rfft(np.asarray(samples, dtype=np.float32), padded)
    out_padded = max(2, round(padded * target_hz / rate_hz))
    out_padded += out_padded % 2
    bins = out_padded // 2 + 1
    spectrum = spectrum[:bins] if bins <= len(spectrum) else np.pad(spectrum, (0, bins - len(spectrum)))
    out = np.fft.irfft(spectrum, out_padded) * (out_padded / padded)
    return out[: round(n * target_hz / rate_hz)].astype(np.float32)


def filtered(audio: Audio, gain_of_hz: npt.NDArray[np.inexact], size: int) -> Audio:
    """`audio` with its spectrum of length `size` multiplied by `gain_of_hz`, shape (size // 2 + 1,)."""
    precise = np.complex64 if np.iscomplexobj(gain_of_hz) else np.float32
    return cast(Audio, np.fft.irfft(np.fft.rfft(audio, size) * gain_of_hz.astype(precise), size)[: len(audio)])


def _frequencies(size: int) -> Audio:
    return np.fft.rfftfreq(size, 1 / RATE_HZ).astype(np.float32)


def band(low_hz: float, high_hz: float, size: int) -> Audio:
    """Gains of a band-pass with soft edges (4th-order Butterworth magnitudes)."""
    hz = np.linspace(1, RATE_HZ / 2, 257)
    gains = 1 / np.sqrt((1 + (low_hz / hz) ** 8) * (1 + (hz / high_hz) ** 16))
    return np.interp(_frequencies(size), hz, gains).astype(np.float32)


def equaliser(rng: Rng, size: int, depth_db: float = 6) -> Audio:
    """Gains of a random smooth colouring: a microphone, a loudspeaker, a hand over the phone."""
    corners = np.array([0, 200, 500, 1000, 2000, 4000, 8000], dtype=float)
    hz = np.linspace(0, RATE_HZ / 2, 257)
    gains = 10 ** (np.interp(hz, corners, rng.normal(0, depth_db / 2, len(corners))) / 20)
    return np.interp(_frequencies(size), hz, gains).astype(np.float32)


def room(audio: Audio, rng: Rng) -> Audio:
    """A made-up room: exponentially dying noise after the direct sound, RT60 of 0.1 to 0.7 s."""
    rt60_s = rng.uniform(0.1, 0.7)
    n = int(rt60_s * RATE_HZ)
    tail = rng.standard_normal(n, dtype=np.float32) * np.exp(np.linspace(0, -6.9, n, dtype=np.float32))
    tail[: int(rng.uniform(0.001, 0.012) * RATE_HZ)] = 0
    tail *= 10 ** (-rng.uniform(-1, 12) / 20) / np.sqrt((tail**2).sum() + 1e-9)
    tail[0] = 1.0
    size = fft_length(len(audio) + n)
    return filtered(audio, np.fft.rfft(tail, size), size)


def coloured_noise(rng: Rng, n: int, slope: float | None = None) -> Audio:
    """Noise of power 1/f^slope (0 white, 1 pink, 2 brown), RMS 1."""
    slope = max(0.0, rng.uniform(-0.7, 2.2)) if slope is None else slope
    white = rng.standard_normal(n, dtype=np.float32)
    if slope == 0:
        return white
    size = fft_length(n)
    noise = filtered(white, np.maximum(_frequencies(size), 30) ** np.float32(-slope / 2), size)
    result: Audio = noise / (noise.std() + np.float32(1e-9))
    return result


def hum(rng: Rng, n: int) -> Audio:
    """Mains hum with its overtones, or a steady chord; RMS 1."""
    t = np.arange(n) / RATE_HZ
    base = float(rng.choice([50.0, 60.0, rng.uniform(100, 900)]))
    tones = sum(rng.random() * np.sin(2 * np.pi * (base * k * t + rng.random())) for k in range(1, 6))
    result: Audio = (tones / (np.std(tones) + 1e-9)).astype(np.float32)
    return result


def clicks(rng: Rng, n: int) -> Audio:
    """Knocks, clicks and bursts of noise at random times; peak about 1."""
    out = np.zeros(n, dtype=np.float32)
    for _ in range(rng.integers(1, 12)):
        at, length = int(rng.integers(0, max(1, n - 10))), int(RATE_HZ * 10 ** rng.uniform(-3, -0.7))
        decay = np.exp(-5 * np.arange(length) / length) * rng.standard_normal(length) * rng.uniform(0.1, 1)
        out[at : at + length] += decay[: n - at]
    return out


def no_speech(rng: Rng, n: int) -> Audio:
    """A window in which nobody speaks: silence, noise, hum, knocks, or several of them, at any level."""
    if rng.random() < 0.15:
        return np.zeros(n, dtype=np.float32)
    audio = np.zeros(n, dtype=np.float32)
    for make in (coloured_noise, hum, clicks):
        if rng.random() < 0.5:
            audio += make(rng, n) * np.float32(10 ** rng.uniform(-3, 0))
    if rng.random() < 0.3:  # noise that comes and goes, as breath and wind do
        knots = rng.random(max(2, n // 4000)) ** 2
        audio *= np.interp(np.linspace(0, 1, n), np.linspace(0, 1, len(knots)), knots).astype(np.float32)
    if rng.random() < 0.5:
        audio = line(audio, rng)
    result: Audio = audio + np.float32(10 ** rng.uniform(-5, -3)) * coloured_noise(rng, n, 0)
    return result


def line(audio: Audio, rng: Rng) -> Audio:
    """What a microphone or a telephone leaves of the spectrum."""
    size = fft_length(len(audio) + 256)
    low_hz, high_hz = ((300, 3400), (60, 3800), (100, 5500), (80, 7000))[rng.choice(4, p=(0.35, 0.3, 0.15, 0.2))]
    gains = band(low_hz * rng.uniform(0.7, 1.2), high_hz * rng.uniform(0.9, 1.05), size)
    return filtered(audio, gains * equaliser(rng, size), size)


def mu_law(audio: Audio) -> Audio:
    """Through 8-bit mu-law (G.711) and back."""
    peak = np.abs(audio).max() + 1e-9
    x = audio / peak
    coded = np.round(np.sign(x) * np.log1p(255 * np.abs(x)) / np.log(256) * 127) / 127
    result: Audio = (np.sign(coded) * np.expm1(np.abs(coded) * np.log(256)) / 255 * peak).astype(np.float32)
    return result


def coded(audio: Audio, codec: str, bit_rate: int) -> Audio:
    """Through a lossy codec and back ("mp3" or "libopus"); its delay is kept, its length is not changed."""
    container = {"mp3": "mp3", "libopus": "ogg"}[codec]
    buffer = io.BytesIO()
    pcm = (np.clip(audio, -1, 1) * 32767).astype(np.int16)
    with av.open(buffer, "w", format=container) as out:
        stream = out.add_stream(codec, rate=RATE_HZ, layout="mono")
        stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
        frame.sample_rate = RATE_HZ
        resampler = av.AudioResampler(stream.format, "mono", RATE_HZ, frame_size=stream.frame_size or 1152)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            out.mux(stream.encode(piece))
        out.mux(stream.encode(None))
    buffer.seek(0)
    resampler = av.AudioResampler("flt", "mono", RATE_HZ)
    with av.open(buffer) as source:
        pieces = [p.to_ndarray()[0] for f in source.decode(audio=0) for p in resampler.resample(f)]
    decoded = np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.float32)
    return np.pad(decoded, (0, max(0, len(audio) - len(decoded))))[: len(audio)].astype(np.float32)


def _noise(audio: Audio, rng: Rng) -> Audio:
    n = len(audio)
    noise = coloured_noise(rng, n)
    kind = rng.random()
    if kind < 0.15:
        noise = noise * 0.3 + hum(rng, n)
    elif kind < 0.25:
        noise = noise * 0.1 + clicks(rng, n) * 3
    speech_rms = float(np.sqrt((audio**2).mean()) + 1e-6)
    snr_db = rng.uniform(8, 45)
    result: Audio = (audio + noise / (noise.std() + 1e-9) * speech_rms * 10 ** (-snr_db / 20)).astype(np.float32)
    return result


def simulate_recording(audio: Audio, rng: Rng) -> Audio:
    """`audio` as some recording of it: colouring, room, noise, line, coding, level, each with its own probability."""
    if rng.random() < 0.5:
        size = fft_length(len(audio) + 256)
        audio = filtered(audio, equaliser(rng, size), size)
    if rng.random() < 0.2:
        audio = room(audio, rng)
    if rng.random() < 0.5:
        audio = _noise(audio, rng)
    if rng.random() < 0.25:
        audio = line(audio, rng)
    audio = audio / np.float32(np.abs(audio).max() + 1e-6)
    kind = rng.random()
    if kind < 0.05:
        audio = mu_law(audio)
    elif kind < 0.12:
        codec, bit_rate = (("mp3", 24_000), ("mp3", 48_000), ("libopus", 12_000), ("libopus", 24_000))[rng.integers(4)]
        audio = coded(audio, codec, bit_rate)
    if rng.random() < 0.05:
        audio = np.clip(audio * rng.uniform(1, 4), -1, 1)
    result: Audio = (audio * 10 ** (-rng.uniform(0, 35) / 20)).astype(np.float32)
    return result
