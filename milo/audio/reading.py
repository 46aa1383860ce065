"""Any audio in, as int16 mono at 16 kHz in blocks of bounded size, on the time line of the original file.

Owns the limits and the blocks. `media` opens a file safely, `timeline` decodes it, `encode` writes files.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from milo.audio.encode import encode
from milo.audio.media import AudioInfo, Media, open_binary, open_media
from milo.audio.mixdown import SAMPLE_RATE_HZ, Pcm
from milo.audio.parts import Part, find_parts, wrong_length
from milo.audio.timeline import Faults, Timeline
from milo.errors import BadMedia, TooLarge

__all__ = ["SAMPLE_RATE_HZ", "AudioInfo", "AudioStream", "encode", "probe", "stream"]

_MISSING_S = 0.1
"""A WAV that lacks less of what its header claims was not cut off: the header is wrong."""
_LIMIT_GRACE_S = 0.1
"""Padding that codecs add at both ends does not make a recording too long."""


class AudioStream:
    """Iterator of int16 blocks. `info` is known after the first, `faults` and `warnings` after the last."""

    def __init__(
        self,
        source: Path | BinaryIO,
        *,
        max_s: float,
        block_s: float = 30.0,
        track: int | None = None,
        channel: int | None = None,
    ) -> None:
        self.info: AudioInfo | None = None
        self.faults = Faults()
        self.truncated = False
        """More was recorded than the file holds: it is shorter than its header says, or ends within a frame."""
        self.channels = 0
        """The most that any part of the recording has; known after the last block."""
        self._source, self._max_s, self._track, self._channel = source, max_s, track, channel
        self._samples = 0
        self._block = max(1, round(block_s * SAMPLE_RATE_HZ))
        self._blocks = self._run()

    def __iter__(self) -> Iterator[Pcm]:
        return self

    def __next__(self) -> Pcm:
        return next(self._blocks)

    def close(self) -> None:
        """Closes the file before the last block was taken."""
        self._blocks.close()

    @property
    def warnings(self) -> list[str]:
        """Those of `truncated`, `skipped_frames`, `filled_gaps`, `overlaps`, `clock_jumps` that apply; and a sentence
        that begins with `wrong_length`, where a WAV's header claims another length than is there."""
        holds = {
            "truncated": self.truncated,
            "skipped_frames": self.faults.skipped_frames > 0,
            "filled_gaps": self.faults.filled_s > 0,
            "overlaps": self.faults.dropped_s > 0,
            "clock_jumps": self.faults.clock_jumps > 0,
        }
        named = [name for name, applies in holds.items() if applies]
        return [*named, self.faults.wrong_length] if self.faults.wrong_length else named

    def _run(self) -> Generator[Pcm, None, None]:
        with open_binary(self._source) as file:
            parts = find_parts(file)
            self.faults.wrong_length = wrong_length(parts)
            yield from _rechunk(self._limited(self._all_parts(file, parts)), self._block)
            if not self._samples:
                raise BadMedia("The file holds no audio that can be decoded (0 samples).", code="no_samples")

    def _all_parts(self, file: BinaryIO, parts: Sequence[Part]) -> Iterator[Pcm]:
        if not parts:
            yield from self._part(file, None, last=True)
        for number, part in enumerate(parts):
            try:
                yield from self._part(file, part, last=number == len(parts) - 1)
            except BadMedia:
                if not number:
                    raise
                self.truncated = True  # what follows a recording and is none

    def _part(self, file: BinaryIO, part: Part | None, *, last: bool) -> Iterator[Pcm]:
        before = self._samples
        before_s = before / SAMPLE_RATE_HZ
        with open_media(file, track=self._track, part=part) as media:
            self.info = self.info or media.info
            claim_s = media.plausible_claim_s
            if claim_s is not None and before_s + claim_s > self._max_s + _LIMIT_GRACE_S:
                raise self._too_long(f"The recording is {_hours(before_s + claim_s)} long")
            timeline = Timeline(media, self.faults, max_s=self._max_s, before_s=before_s, channel=self._channel)
            for pcm in timeline.pcm():
                self._samples += len(pcm)
                yield pcm
            self.channels = max(self.channels, timeline.channels)
            reached_s = max(0.0, timeline.start_s) + (self._samples - before) / SAMPLE_RATE_HZ
            self.truncated |= _is_cut(media, self.faults, reached_s) or (last and media.lacks_end())
            self.truncated |= part is not None and part.missing_s > _MISSING_S

    def _limited(self, parts: Iterator[Pcm]) -> Iterator[Pcm]:
        left = (self._max_s + _LIMIT_GRACE_S) * SAMPLE_RATE_HZ
        for part in parts:
            left -= len(part)
            if left < 0:
                raise self._too_long("The recording is longer")
            yield part

    def _too_long(self, what: str) -> TooLarge:
        return TooLarge(
            f"{what}; the limit is {_hours(self._max_s)}. Split it, or raise MILO_MAX_AUDIO_S.", code="audio_too_long"
        )


def _hours(seconds: float) -> str:
    """`6 h 10 min`, `12 min`, `40 s`: the two leading units."""
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes = whole // 60
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _rechunk(parts: Iterator[Pcm], size: int) -> Iterator[Pcm]:
    """The same samples in arrays of `size`, the last one shorter."""
    held: list[Pcm] = []
    held_n = 0
    for part in parts:
        held.append(part)
        held_n += len(part)
        if held_n >= size:
            joined = np.concatenate(held)
            whole = held_n - held_n % size
            yield from (joined[at : at + size] for at in range(0, whole, size))
            held, held_n = [joined[whole:].copy()], held_n - whole
    if held_n:
        yield np.concatenate(held)


def _is_cut(media: Media, faults: Faults, reached_s: float) -> bool:
    claim_s = media.claim_s
    short = claim_s is not None and reached_s < claim_s * 0.9995 - 0.1
    return short or faults.cut_off


def stream(
    source: Path | BinaryIO,
    *,
    max_s: float,
    block_s: float = 30.0,
    track: int | None = None,
    channel: int | None = None,
) -> AudioStream:
    """Decodes a path or a binary file object to int16 blocks of `block_s`, mono, 16 kHz, without ever holding it whole.

    Sample n is at n / 16000 s on the time line that a player shows. A broken frame becomes silence; a file that was
    cut off gives what is there (see `AudioStream.warnings`). Recordings that were joined in one file follow each other.
    `track` counts the audio tracks from 0; None is the one that the file marks as its default, else the first.
    `channel` counts the channels from 0; None mixes them.

    Raises, at the first block or later: `BadMedia` with code empty_audio, not_audio, corrupt_audio, no_audio_track,
    no_samples, unsupported_audio or external_reference; `TooLarge` with code audio_too_long past `max_s`.
    """
    return AudioStream(source, max_s=max_s, block_s=block_s, track=track, channel=channel)


def probe(source: Path | BinaryIO, *, track: int | None = None) -> AudioInfo:
    """What the header says, without decoding. Raises `BadMedia` as `stream` does."""
    with open_media(source, track=track) as media:
        return media.info
