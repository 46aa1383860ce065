"""Samples of any codec to one channel in [-1, 1], and from any rate to int16 at 16 kHz. Knows no time stamps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av
import numpy as np
import numpy.typing as npt

SAMPLE_RATE_HZ = 16_000
Pcm = npt.NDArray[np.int16]
Signal = npt.NDArray[np.float32]

_SCALES = {"int16": 2.0**15, "int32": 2.0**31}
_WEIGHTS = {"FC": 1.0, "FL": 0.7071, "FR": 0.7071, "LFE": 0.0, "LFE2": 0.0}
"""Shares of a surround mix (ITU-R BS.775): speech is in the centre. Other channels get 0.5."""


def mix(raw: npt.NDArray[Any], weights: npt.NDArray[np.float32]) -> Signal:
    """One channel in [-1, 1] out of `raw`, shape (channels, n), dtype uint8, int16, int32, float32 or float64.

    Non-finite samples become 0, the rest saturates. Two channels in opposite phase (a wrongly wired microphone)
    would cancel out; then the first one is taken alone.
    """
    if raw.dtype.kind == "f":
        signal = np.nan_to_num(raw, nan=0.0, posinf=0.0, neginf=0.0).clip(-1.0, 1.0).astype(np.float32)
    elif raw.dtype == np.uint8:
        signal = (raw.astype(np.float32) - 128.0) / 128.0
    else:
        signal = raw.astype(np.float32) / np.float32(_SCALES[raw.dtype.name])
    if len(signal) == 1:
        return np.asarray(signal[0] if weights[0] else np.zeros_like(signal[0]))
    mono: Signal = np.multiply(signal[0], weights[0])
    for channel, weight in zip(signal[1:], weights[1:], strict=True):  # no BLAS: its threads cost more than the sum
        mono += channel * weight
    if len(signal) == 2 and all(weights) and np.square(mono).sum() < 0.01 * np.square(signal[0]).sum():
        return np.ascontiguousarray(signal[0])  # a column, where the channels are interleaved
    return mono


class Resampler:
    """A gapless stretch of one source rate to int16 at 16 kHz, its length exact to the sample."""

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.taken = 0
        self._given = 0
        self._swr = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)

    def push(self, signal: Signal) -> Iterator[Pcm]:
        self.taken += len(signal)
        if self.rate_hz == SAMPLE_RATE_HZ:
            self._given += len(signal)
            yield np.rint(signal * 32768.0).clip(-32768, 32767).astype(np.int16)
            return
        frame = av.AudioFrame.from_ndarray(signal.reshape(1, -1), format="flt", layout="mono")
        frame.sample_rate = self.rate_hz
        yield from self._pull(frame)

    def finish(self) -> Iterator[Pcm]:
        """What is left in the filter, cut or padded so that seconds out are seconds in."""
        if self.taken and self.rate_hz != SAMPLE_RATE_HZ:
            yield from self._pull(None)
            missing = round(self.taken * SAMPLE_RATE_HZ / self.rate_hz) - self._given
            if missing > 0:
                yield np.zeros(missing, np.int16)

    def _pull(self, frame: Any) -> Iterator[Pcm]:
        for out in self._swr.resample(frame):
            room = round(self.taken * SAMPLE_RATE_HZ / self.rate_hz) - self._given
            pcm = out.to_ndarray()[0][: room if frame is None else None]
            self._given += len(pcm)
            yield pcm


def weights_of(layout: Any) -> npt.NDArray[np.float32]:
    shares = np.array([_WEIGHTS.get(channel.name, 0.5) for channel in layout.channels], np.float32)
    return shares / shares.sum() if shares.sum() > 0 else np.full(len(shares), 1 / len(shares), np.float32)


def only(channel: int, layout: Any) -> npt.NDArray[np.float32]:
    """Weights that take one channel, counted from 0, alone. Of a layout that has it not, nothing is taken."""
    weights: npt.NDArray[np.float32] = (np.arange(layout.nb_channels) == channel).astype(np.float32)
    return weights


_SAFE_PLANES = 8
_DTYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "flt": "f4", "dbl": "f8"}


def planes_of(frame: Any) -> list[npt.NDArray[Any]]:
    """The samples of a frame in the dtype of the codec, uncopied: an array a channel, or one of all, interleaved."""
    dtype = _DTYPES.get(frame.format.name.removesuffix("p"))
    # 64-bit integers; and more planes than PyAV (18.1) counts without reading past the end of their list
    if dtype is None or (frame.format.is_planar and frame.layout.nb_channels > _SAFE_PLANES):
        return planes_of(av.AudioResampler("dbl", frame.layout, frame.sample_rate).resample(frame)[0])
    count = frame.samples if frame.format.is_planar else frame.samples * frame.layout.nb_channels
    return [np.frombuffer(plane, dtype, count) for plane in frame.planes]


def join_planes(parts: list[list[npt.NDArray[Any]]], channels: int) -> npt.NDArray[Any]:
    """Consecutive `planes_of` as one array of shape (channels, n)."""
    joined = [np.concatenate(plane) for plane in zip(*parts, strict=True)]
    return np.stack(joined) if len(joined) == channels else joined[0].reshape(-1, channels).T
