"""From decoded frames to a gapless int16 signal at 16 kHz on the time line of the original file.

Owns the clock, the mix to one channel and the resampling; `media` opens the file. Gaps, overlaps and lost frames are
settled before the resampler, in samples of the source, so that sample n of the output is at n / 16000 seconds of what
a player shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import av
import av.error
import numpy as np
import numpy.typing as npt

from milo.media import Media, check_shape

SAMPLE_RATE_HZ = 16_000
Pcm = npt.NDArray[np.int16]
Signal = npt.NDArray[np.float32]

_OWN_CLOCK = frozenset({"mov", "matroska"})
"""Containers whose clock starts at 0 by definition: audio that starts at 2 s is preceded by 2 s of silence."""
_WILD_CLOCK = frozenset({"mpegts", "mpeg"})
"""Containers whose clock may jump (FFmpeg's AVFMT_TS_DISCONT): a jump of over 10 s is not a gap."""
_LATE_START_S = 60.0
"""A lone track that starts later than this was cut out of something longer: its start is the start."""
_JUMP_S = 10.0
_MIN_GAP_S, _MAX_SLIP_S, _RESYNC_S = 0.010, 0.050, 0.002
_MAX_READ_ERRORS = 64
_SCALES = {"int16": 2.0**15, "int32": 2.0**31}
_KNOWN_FORMATS = frozenset({"u8", "u8p", "s16", "s16p", "s32", "s32p", "flt", "fltp", "dbl", "dblp"})
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
        return np.asarray(signal[0])
    mono: Signal = weights @ signal
    if len(signal) == 2 and float(np.dot(mono, mono)) < 0.01 * float(np.dot(signal[0], signal[0])):
        return np.asarray(signal[0])
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


def _weights(layout: Any) -> npt.NDArray[np.float32]:
    shares = np.array([_WEIGHTS.get(channel.name, 0.5) for channel in layout.channels], np.float32)
    return shares / shares.sum() if shares.sum() > 0 else np.full(len(shares), 1 / len(shares), np.float32)


def _to_array(frame: Any) -> npt.NDArray[Any]:
    """The samples of a frame, shape (channels, n), in the dtype of the codec."""
    if frame.format.name not in _KNOWN_FORMATS:  # 64-bit integers
        frame = av.AudioResampler(format="dblp", layout=frame.layout, rate=frame.sample_rate).resample(frame)[0]
    array: npt.NDArray[Any] = frame.to_ndarray()
    return array if frame.format.is_planar else array.reshape(-1, frame.layout.nb_channels).T


@dataclass
class Faults:
    """What was odd about a file, counted while it is decoded."""

    skipped_frames: int = 0
    """Packets that could not be decoded; silence stands in their place where the file tells the time."""
    filled_s: float = 0.0
    """Silence put where the file has no samples: late start, lost packets."""
    dropped_s: float = 0.0
    """Audio left out because it overlapped what came before."""
    clock_jumps: int = 0
    """Time stamps that jumped back or absurdly far ahead, and were not followed."""
    cut_off: bool = False
    """Reading ended with an error or in the middle of a frame."""


class Timeline:
    """Decodes one audio stream. `pcm` yields int16 arrays of at most a few seconds each."""

    def __init__(self, media: Media, faults: Faults, *, max_s: float) -> None:
        self._media, self._faults, self._max_s = media, faults, max_s
        start = media.container.start_time
        start_s = 0.0 if start is None else start / 1e6
        self._origin_s = 0.0 if media.name in _OWN_CLOCK and 0 < start_s <= _LATE_START_S else start_s
        self._last_s = -np.inf
        self._resync = False
        self._given = 0
        self._shape: tuple[Any, ...] = ()
        self._raw: list[npt.NDArray[Any]] = []
        self._raw_n = 0

    def pcm(self) -> Iterator[Pcm]:
        for part in self._signal():
            self._given += len(part)
            yield part

    def _signal(self) -> Iterator[Pcm]:
        for frame in self._frames():
            shape = (frame.sample_rate, frame.format.name, frame.layout.nb_channels)
            if shape != self._shape:
                yield from self._restart(frame, shape)
            array = _to_array(frame)
            if frame.pts is not None and frame.time_base:
                late_s = self._late_s(float(frame.pts * frame.time_base), array.shape[1] / frame.sample_rate)
                if late_s > 0:
                    yield from self._silence(late_s)
                elif late_s < 0:
                    array = array[:, round(-late_s * frame.sample_rate) :]
            self._raw.append(array)
            self._raw_n += array.shape[1]
            if self._raw_n * 4 >= frame.sample_rate:
                yield from self._drain()
        yield from self._flush()

    def _packets(self) -> Iterator[Any]:
        """Packets of the stream. After a reading error it goes on behind it, until errors are all that comes."""
        container, stream = self._media.container, self._media.stream
        packets, errors_left = container.demux(stream), _MAX_READ_ERRORS
        while errors_left:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError:
                self._skip()
                packets, errors_left = container.demux(stream), errors_left - 1
                continue
            if packet is None:
                return
            yield packet

    def _frames(self) -> Iterator[Any]:
        """Decoded frames. A packet that can't be decoded is counted and left out."""
        for packet in self._packets():
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                self._skip()
                continue
            for frame in frames:
                if frame.samples:
                    self._faults.cut_off = False
                    yield frame

    def _skip(self) -> None:
        self._faults.skipped_frames += 1
        self._faults.cut_off = self._resync = True

    def _late_s(self, pts_s: float, frame_s: float) -> float:
        """Seconds of silence to put before a frame (> 0), or of its head to drop (< 0), so that it is on time."""
        at_s = pts_s - self._origin_s
        have_s = self._base / SAMPLE_RATE_HZ + (self._resampler.taken + self._raw_n) / self._resampler.rate_hz
        late_s = at_s - have_s
        went_back, self._last_s = at_s <= self._last_s, at_s
        slack_s = _RESYNC_S if self._resync else min(max(0.75 * frame_s, _MIN_GAP_S), _MAX_SLIP_S)
        self._resync = False
        if late_s > slack_s:
            if at_s > self._max_s or (self._media.name in _WILD_CLOCK and late_s > _JUMP_S):
                return self._jump(late_s)
            self._faults.filled_s += late_s
            return late_s
        if late_s < -_MAX_SLIP_S:
            # A clock that restarts (chained streams), or that is plainly wrong, must not cost audio.
            if went_back or self._faults.dropped_s > 1 + 0.02 * have_s:
                return self._jump(late_s)
            dropped_s = min(-late_s, frame_s)
            self._faults.dropped_s += dropped_s
            return -dropped_s
        return 0.0

    def _jump(self, late_s: float) -> float:
        self._faults.clock_jumps += 1
        self._origin_s += late_s
        self._last_s -= late_s
        return 0.0

    def _restart(self, frame: Any, shape: tuple[Any, ...]) -> Iterator[Pcm]:
        """Settles what came before and gets ready for frames of another rate, format or channel count."""
        check_shape(frame.sample_rate, frame.layout.nb_channels)
        yield from self._flush()
        self._shape = shape
        self._weights = _weights(frame.layout)
        self._resampler = Resampler(frame.sample_rate)
        self._base = self._given

    def _drain(self) -> Iterator[Pcm]:
        if self._raw_n:
            signal = mix(np.concatenate(self._raw, axis=1), self._weights)
            self._raw, self._raw_n = [], 0
            yield from self._resampler.push(signal)

    def _flush(self) -> Iterator[Pcm]:
        if self._shape:
            yield from self._drain()
            yield from self._resampler.finish()

    def _silence(self, silence_s: float) -> Iterator[Pcm]:
        yield from self._drain()
        left = round(silence_s * self._resampler.rate_hz)
        while left > 0:
            part = min(left, self._resampler.rate_hz)
            left -= part
            yield from self._resampler.push(np.zeros(part, np.float32))
