"""Any audio in, as int16 mono at 16 kHz in blocks of bounded size, on the time line of the original file.

Owns the limits and the blocks. `media` opens a file safely, `timeline` decodes it, `encode` writes files.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from milo.audio.encode import encode
from milo.audio.media import AudioInfo, Media, open_media
from milo.audio.mixdown import SAMPLE_RATE_HZ, Pcm
from milo.audio.timeline import Faults, Timeline
from milo.errors import BadMedia, TooLarge

__all__ = ["SAMPLE_RATE_HZ", "AudioInfo", "AudioStream", "encode", "probe", "stream"]

_LIMIT_GRACE_S = 0.1
"""Padding that codecs add at both ends does not make a recording too long."""


class AudioStream:
    """Iterator of int16 blocks. `info` is known after the first, `faults` and `warnings` after the last."""

    def __init__(
        self, source: Path | BinaryIO, *, max_s: float, block_s: float = 30.0, track: int | None = None
    ) -> None:
        self.info: AudioInfo | None = None
        self.faults = Faults()
        self.truncated = False
        """More was recorded than the file holds: it is shorter than its header says, or ends within a frame."""
        self._source, self._max_s, self._track = source, max_s, track
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
        """Those of `truncated`, `skipped_frames`, `filled_gaps`, `overlaps`, `clock_jumps` that apply."""
        holds = {
            "truncated": self.truncated,
            "skipped_frames": self.faults.skipped_frames > 0,
            "filled_gaps": self.faults.filled_s > 0,
            "overlaps": self.faults.dropped_s > 0,
            "clock_jumps": self.faults.clock_jumps > 0,
        }
        return [name for name, applies in holds.items() if applies]

    def _run(self) -> Generator[Pcm, None, None]:
        with open_media(self._source, track=self._track) as media:
            self.info = media.info
            claim_s = media.plausible_claim_s
            if claim_s is not None and claim_s > self._max_s + _LIMIT_GRACE_S:
                raise self._too_long(f"The recording is {_hours(claim_s)} long")
            samples = 0
            timeline = Timeline(media, self.faults, max_s=self._max_s)
            for block in _rechunk(self._limited(timeline.pcm()), self._block):
                samples += len(block)
                yield block
            if not samples:
                raise BadMedia("The file holds no audio that can be decoded (0 samples).", code="no_samples")
            self.truncated = _is_cut(media, self.faults, max(0.0, timeline.start_s) + samples / SAMPLE_RATE_HZ)

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
    return short or faults.cut_off or media.lacks_end()


def stream(source: Path | BinaryIO, *, max_s: float, block_s: float = 30.0, track: int | None = None) -> AudioStream:
    """Decodes a path or a binary file object to int16 blocks of `block_s`, mono, 16 kHz, without ever holding it whole.

    Sample n is at n / 16000 s on the time line that a player shows. A broken frame becomes silence; a file that was
    cut off gives what is there (see `AudioStream.warnings`). `track` counts the audio tracks from 0; None is the one
    that the file marks as its default, else the first.

    Raises, at the first block or later: `BadMedia` with code empty_audio, not_audio, corrupt_audio, no_audio_track,
    no_samples, unsupported_audio or external_reference; `TooLarge` with code audio_too_long past `max_s`.
    """
    return AudioStream(source, max_s=max_s, block_s=block_s, track=track)


def probe(source: Path | BinaryIO, *, track: int | None = None) -> AudioInfo:
    """What the header says, without decoding. Raises `BadMedia` as `stream` does."""
    with open_media(source, track=track) as media:
        return media.info
