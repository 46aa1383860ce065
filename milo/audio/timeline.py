"""From decoded frames to a gapless int16 signal at 16 kHz on the time line of the original file.

Owns the clock; `media` opens the file, `mixdown` turns samples into samples. Gaps, overlaps and lost frames are
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

from milo.audio.media import Media, check_shape, refuse_hunger
from milo.audio.mixdown import SAMPLE_RATE_HZ, Pcm, Resampler, join_planes, mix, only, planes_of, weights_of

_OWN_CLOCK = frozenset({"mov", "matroska"})
"""Containers whose clock starts at 0 by definition: audio that starts at 2 s is preceded by 2 s of silence."""
_WILD_CLOCK = frozenset({"mpegts", "mpeg"})
"""Containers whose clock may jump (FFmpeg's AVFMT_TS_DISCONT): a jump of over 10 s is not a gap."""
_NO_CLOCK = frozenset({"aac", "ac3", "amr", "amrnb", "amrwb", "dts", "eac3", "gsm", "loas", "mp3"})
"""Bare frames without times: FFmpeg counts them up, with the first sample rate, so only a frame that was lost shows."""
_QUIET_AMR = {"amr_nb": 8, "amr_wb": 9}
"""Frame types from which on a packet tells of silence (comfort noise, nothing sent). FFmpeg takes it for broken.
3GPP TS 26.101 and 26.201, table 1a."""
_LATE_START_S = 60.0
"""A lone track that starts later than this was cut out of something longer: its start is the start."""
_SAME_CLOCK_S = 0.5
"""A part that starts so near to the end of the last one counts its time on from there."""
_JUMP_S = 10.0
_MIN_GAP_S, _MAX_SLIP_S, _RESYNC_S = 0.010, 0.050, 0.002
_UNSTEADY = frozenset({"vorbis"})
"""Codecs whose frames FFmpeg dates up to some 20 ms too late, where short ones follow long ones."""
_MAX_READ_ERRORS = 64


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
    wrong_length: str = ""
    """What a WAV's header claimed and what was there, where the two differ: a warning as it is told."""


class Timeline:
    """Decodes one audio stream. `pcm` yields int16 arrays of at most a few seconds each."""

    def __init__(
        self, media: Media, faults: Faults, *, max_s: float, before_s: float = 0.0, channel: int | None = None
    ) -> None:
        """`before_s`: how long the parts of the file before this one are. `channel`, from 0: this one, not the mix."""
        self._media, self._faults, self._max_s, self._channel = media, faults, max_s, channel
        start = media.container.start_time
        start_s = 0.0 if start is None else start / 1e6
        goes_on = before_s > 0 and abs(start_s - before_s) <= _SAME_CLOCK_S
        own = media.name in _OWN_CLOCK and 0 < start_s <= _LATE_START_S and not goes_on
        self.start_s = 0.0 if own else start_s
        """Where the clock of the file stands at sample 0."""
        self.channels = 0
        """The most that a frame had so far."""
        self._origin_s = self.start_s
        self._min_gap_s = _MAX_SLIP_S if media.info.codec in _UNSTEADY else _MIN_GAP_S
        self._last_s = -np.inf
        self._resync = False
        self._given = 0
        self._shape: tuple[Any, ...] = ()
        self._raw: list[list[npt.NDArray[Any]]] = []
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
            samples, drop = frame.samples, 0
            at_s = frame.time
            if at_s is not None:
                late_s = self._late_s(at_s, samples / frame.sample_rate)
                if late_s > 0:
                    yield from self._silence(late_s)
                elif late_s < 0:
                    drop = min(samples, round(-late_s * frame.sample_rate))
            if drop == samples:
                continue
            planes = planes_of(frame)
            if drop:
                planes = [plane[drop * len(plane) // samples :] for plane in planes]
            self._raw.append(planes)
            self._raw_n += samples - drop
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
            except IndexError:  # PyAV, at the end of a file in which a stream appeared half-way
                return
            except av.error.FFmpegError as error:
                refuse_hunger(error)
                self._skip()
                packets, errors_left = container.demux(stream), errors_left - 1
                continue
            if packet is None:
                return
            if packet.stream_index == stream.index:
                yield packet

    def _frames(self) -> Iterator[Any]:
        """Decoded frames. A packet that can't be decoded is counted and left out."""
        sizes: dict[bytes, int] = {}
        """Of mp3 frames by header, which fixes the size: a smaller last one was cut."""
        cut = False
        for packet in self._packets():
            if packet.size and self._media.name == "mp3":
                header = bytes(memoryview(packet)[:3])
                cut = packet.size < sizes.get(header, 0)
                sizes[header] = max(packet.size, sizes.get(header, 0))
            quiet = self._quiet(packet)
            if quiet is not None:
                yield quiet
                continue
            try:
                frames = packet.decode()
            except av.error.FFmpegError as error:
                refuse_hunger(error)
                self._skip()
                continue
            for frame in frames:
                if frame.samples:
                    self._faults.cut_off = False
                    yield frame
        self._faults.cut_off |= cut

    def _quiet(self, packet: Any) -> Any:
        """20 ms of silence for a packet of a telephone that sent none of its speaker's pauses; None for another."""
        first = _QUIET_AMR.get(self._media.info.codec)
        if first is None or not packet.size or memoryview(packet)[0] >> 3 & 15 < first:
            return None
        rate_hz = self._media.info.sample_rate_hz or 8000
        frame = av.AudioFrame.from_ndarray(np.zeros((1, rate_hz // 50), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate_hz, packet.pts, packet.time_base
        return frame

    def _skip(self) -> None:
        self._faults.skipped_frames += 1
        self._faults.cut_off = self._resync = True

    def _late_s(self, pts_s: float, frame_s: float) -> float:
        """Seconds of silence to put before a frame (> 0), or of its head to drop (< 0), so that it is on time."""
        at_s = pts_s - self._origin_s
        have_s = self._base / SAMPLE_RATE_HZ + (self._resampler.taken + self._raw_n) / self._resampler.rate_hz
        late_s = at_s - have_s
        went_back, self._last_s = at_s <= self._last_s, at_s
        slack_s = _RESYNC_S if self._resync else min(max(0.75 * frame_s, self._min_gap_s), _MAX_SLIP_S)
        lost, self._resync = self._resync, False
        if self._media.name in _NO_CLOCK and not lost and abs(late_s) > slack_s:
            return self._jump(late_s)
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
        self.channels = max(self.channels, frame.layout.nb_channels)
        self._weights = weights_of(frame.layout) if self._channel is None else only(self._channel, frame.layout)
        self._resampler = Resampler(frame.sample_rate)
        self._base = self._given

    def _drain(self) -> Iterator[Pcm]:
        if self._raw_n:
            signal = mix(join_planes(self._raw, len(self._weights)), self._weights)
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
