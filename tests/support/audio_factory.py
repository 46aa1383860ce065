"""Recordings made on the spot: tones, voices, files of every format, and files that are wrong on purpose."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import soxr

from milo.engines.speech import espeak

RATE_HZ = 16_000
Signal = npt.NDArray[np.float32]


def tone_at(start_s: float, total_s: float, rate_hz: int, tone_s: float = 0.2) -> Signal:
    """Silence with one burst of 1 kHz that begins at `start_s`."""
    signal = np.zeros(round(total_s * rate_hz), np.float32)
    first, count = round(start_s * rate_hz), round(tone_s * rate_hz)
    signal[first : first + count] = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(count) / rate_hz)
    return signal


def onset_s(pcm: npt.NDArray[np.int16]) -> float:
    """When a signal at 16 kHz first exceeds an eighth of full scale."""
    loud = np.abs(pcm.astype(np.int32)) > 4096
    assert loud.any(), "nothing is loud"
    return int(np.argmax(loud)) / RATE_HZ


def media(
    container: str,
    codec: str,
    signal: Signal,
    rate_hz: int,
    *,
    layout: str = "mono",
    start_s: float = 0.0,
    film: bool = False,
    options: dict[str, str] | None = None,
    lose: tuple[float, float] | None = None,
) -> bytes:
    """A file of `signal` in all channels. Packets that start within `lose` (seconds) are left out.

    `film` adds a video track that starts at 0; `start_s` delays the audio.
    """
    file = io.BytesIO()
    with av.open(file, "w", format=container, options=options or {}) as out:
        video = _add_video(out) if film else None
        stream: Any = out.add_stream(codec, rate=rate_hz, layout=layout)
        stream.codec_context.open(strict=False)
        context = stream.codec_context
        resampler = av.AudioResampler(context.format, layout, rate_hz, frame_size=context.frame_size or 1024)
        if video is not None:
            for number in range(round((len(signal) / rate_hz + start_s) * 5)):
                picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), number % 250, np.uint8), format="rgb24")
                picture.pts = number
                out.mux(video.encode(picture))
            out.mux(video.encode(None))
        pcm = (np.clip(signal, -1, 1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(np.tile(pcm, (stream.layout.nb_channels, 1)), format="s16p", layout=layout)
        frame.sample_rate, frame.pts = rate_hz, 0
        ready = resampler.resample(frame) + resampler.resample(None)
        for piece in [*ready, None]:
            for packet in stream.encode(piece):
                at_s = float(packet.pts * packet.time_base)
                if lose and lose[0] <= at_s < lose[1]:
                    continue
                shift = round(start_s / packet.time_base)
                packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                out.mux(packet)
    return file.getvalue()


def _add_video(out: Any) -> Any:
    video = out.add_stream("libvpx-vp9" if out.format.name == "webm" else "mpeg4", rate=5)
    video.width = video.height = 32
    video.pix_fmt = "yuv420p"
    return video


def silent_film() -> bytes:
    """An mp4 with pictures and no sound."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        video = _add_video(out)
        for number in range(10):
            picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), number * 20, np.uint8), format="rgb24")
            picture.pts = number
            out.mux(video.encode(picture))
        out.mux(video.encode(None))
    return file.getvalue()


def wav(
    data: bytes = bytes(2000),
    *,
    rate_hz: int = RATE_HZ,
    channels: int = 1,
    bits: int = 16,
    tag: int = 1,
    claim_bytes: int | None = None,
) -> bytes:
    """A wav whose header says what the arguments say, true or not. `tag` 1 is integer PCM, 3 is float."""
    align = channels * bits // 8
    fmt = struct.pack("<HHIIHH", tag, channels, rate_hz, rate_hz * align & 0xFFFFFFFF, align & 0xFFFF, bits)
    claim = len(data) if claim_bytes is None else claim_bytes
    riff = struct.pack("<I", min(36 + claim, 0xFFFFFFFF))
    return b"RIFF" + riff + b"WAVEfmt " + struct.pack("<I", 16) + fmt + b"data" + struct.pack("<I", claim) + data


class EndlessWav(io.RawIOBase):
    """A wav of any length that exists only while it is read: `pattern` over and over."""

    def __init__(self, seconds: float, pattern: npt.NDArray[np.int16], claim_bytes: int | None = None) -> None:
        self._pattern = pattern.astype("<i2").tobytes() * 2
        self._period = len(self._pattern) // 2
        self._data_bytes = round(seconds * RATE_HZ) * 2
        self._header = wav(b"", claim_bytes=self._data_bytes if claim_bytes is None else claim_bytes)
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._header) + self._data_bytes}[whence]
        self._at = base + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        if self._at < len(self._header):
            piece = self._header[self._at :][:size]
        else:
            at = self._at - len(self._header)
            first = at % self._period
            piece = self._pattern[first : first + max(0, min(size, self._data_bytes - at, self._period))]
        self._at += len(piece)
        return piece


@lru_cache(maxsize=32)
def say(text: str, voice: str = "en") -> npt.NDArray[np.int16]:
    """`text` spoken by eSpeak NG: int16 mono at 16 kHz, silence at both ends cut off."""
    said = espeak.synthesize(text, voice=voice, rate_wpm=175, fresh=True)
    speech = soxr.resample(said.samples, said.sample_rate, RATE_HZ)
    loud = np.flatnonzero(np.abs(speech.astype(np.int32)) > 200)
    return speech[loud[0] : loud[-1] + 1]


def silence(seconds: float) -> npt.NDArray[np.int16]:
    return np.zeros(round(seconds * RATE_HZ), np.int16)


def room(seconds: float, level: float = 20.0, seed: int = 0) -> npt.NDArray[np.int16]:
    """Quiet noise of a microphone: `level` is its standard deviation in int16 steps."""
    return (np.random.default_rng(seed).standard_normal(round(seconds * RATE_HZ)) * level).astype(np.int16)


def blocks(pcm: npt.NDArray[np.int16], size: int) -> Iterator[npt.NDArray[np.int16]]:
    for at in range(0, len(pcm), size):
        yield pcm[at : at + size]
