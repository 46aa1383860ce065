"""Mono float32 samples out, as the bytes of an audio file. Headers carry the true sizes."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from milo.audio.formats import AUDIO_FORMATS, MEDIA_TYPES, wav_header
from milo.errors import Invalid

__all__ = ["FORMATS", "MEDIA_TYPES", "Codec", "codec_of", "encode", "to_int16", "wav_header"]


@dataclass(frozen=True)
class Codec:
    """How PyAV writes a format."""

    container: str
    encoder: str
    rates_hz: tuple[int, ...] = ()
    """Rates that the codec takes; empty: any. Others are resampled to the next higher one."""
    bit_rate: int | None = None


_CODECS = {
    "flac": Codec("flac", "flac"),
    "ogg": Codec("ogg", "libopus", (8000, 12000, 16000, 24000, 48000), 48_000),
    "opus": Codec("ogg", "libopus", (8000, 12000, 16000, 24000, 48000), 48_000),
    "mp3": Codec("mp3", "libmp3lame", (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000), 64_000),
    "aac": Codec("adts", "aac", (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000), 64_000),
}
FORMATS = AUDIO_FORMATS


def to_int16(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    """[-1, 1] to int16: rounds, saturates, and turns non-finite values into 0."""
    finite = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
    pcm: npt.NDArray[np.int16] = np.rint(finite * 32768.0).clip(-32768, 32767).astype(np.int16)
    return pcm


def encode(samples: npt.NDArray[np.float32], sample_rate_hz: int, format: str) -> bytes:
    """A whole file of `samples`, shape (n,), in [-1, 1].

    `format` is one of `FORMATS`: wav and pcm are 16-bit little endian, ogg and opus are Opus in Ogg, aac is ADTS.
    No samples give a wav or pcm of none, and one silent sample in the others, which can't be empty.
    Raises `Invalid` (code unknown_format) for another format.
    """
    pcm = to_int16(samples)
    if format == "pcm":
        return pcm.astype("<i2").tobytes()
    if format == "wav":
        return wav_header(pcm.nbytes, sample_rate_hz) + pcm.astype("<i2").tobytes()
    if format not in _CODECS:
        raise Invalid(f"unknown audio format {format!r}; one of {', '.join(FORMATS)}", code="unknown_format")
    return _compress(pcm if len(pcm) else np.zeros(1, np.int16), sample_rate_hz, *codec_of(format, sample_rate_hz))


def codec_of(format: str, sample_rate_hz: int) -> tuple[Codec, int]:
    """The codec of a compressed format, and the rate it takes for samples of this rate."""
    codec = _CODECS[format]
    rates_hz = codec.rates_hz or (sample_rate_hz,)
    return codec, next((rate for rate in rates_hz if rate >= sample_rate_hz), rates_hz[-1])


def _compress(pcm: npt.NDArray[np.int16], sample_rate_hz: int, codec: Codec, rate_hz: int) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=codec.container) as container:
        stream: Any = container.add_stream(codec.encoder, rate=rate_hz, layout="mono")
        if codec.bit_rate:
            stream.bit_rate = codec.bit_rate
        context = stream.codec_context
        context.open(strict=False)
        resampler = av.AudioResampler(
            format=context.format, layout="mono", rate=rate_hz, frame_size=context.frame_size or None
        )
        for frame in _frames(pcm, sample_rate_hz):
            for ready in resampler.resample(frame):
                container.mux(stream.encode(ready))
        container.mux(stream.encode(None))
    return file.getvalue()


def _frames(pcm: npt.NDArray[np.int16], sample_rate_hz: int) -> Any:
    """The samples as frames of at most one second, then the None that flushes a resampler."""
    for at in range(0, len(pcm), sample_rate_hz):
        frame = av.AudioFrame.from_ndarray(pcm[None, at : at + sample_rate_hz], format="s16", layout="mono")
        frame.sample_rate, frame.pts = sample_rate_hz, at
        yield frame
    yield None
