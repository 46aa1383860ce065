"""The waveform of a recording as pairs of lowest and highest sample, in the format that audiowaveform writes.

https://github.com/bbc/audiowaveform/blob/master/doc/DataFormat.md: version 2, 8 bits, one channel.
"""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt

from milo.audio.mixdown import SAMPLE_RATE_HZ, Pcm

SAMPLES_PER_PEAK = 320
"""20 ms: 50 pairs a second."""
MAX_BYTES = 1_500_000
"""A longer recording gets fewer pairs a second."""
HEAD = struct.Struct("<iIiiIi")
EIGHT_BITS = 1


class Peaks:
    """Takes the blocks of a recording one after the other."""

    def __init__(self) -> None:
        self._rest: Pcm = np.zeros(0, np.int16)
        self._pairs: list[npt.NDArray[np.int8]] = []

    def add(self, pcm: Pcm) -> None:
        """The next samples, at 16 kHz."""
        pcm = np.concatenate((self._rest, pcm))
        whole = len(pcm) // SAMPLES_PER_PEAK * SAMPLES_PER_PEAK
        self._rest = pcm[whole:].copy()
        if whole:
            self._pairs.append(_pairs(pcm[:whole].reshape(-1, SAMPLES_PER_PEAK)))

    def content(self) -> bytes:
        """The file, of at most `MAX_BYTES`."""
        pairs = [*self._pairs]
        if len(self._rest):
            pairs.append(_pairs(self._rest[None]))
        both = np.concatenate(pairs) if pairs else np.zeros((0, 2), np.int8)
        factor = max(1, -(-both.size // (MAX_BYTES - HEAD.size)))
        if factor > 1:
            both = np.pad(both, ((0, -len(both) % factor), (0, 0)), mode="edge").reshape(-1, factor, 2)
            both = np.stack((both[:, :, 0].min(axis=1), both[:, :, 1].max(axis=1)), axis=1)
        head = HEAD.pack(2, EIGHT_BITS, SAMPLE_RATE_HZ, SAMPLES_PER_PEAK * factor, len(both), 1)
        return head + both.astype(np.int8).tobytes()


def _pairs(rows: Pcm) -> npt.NDArray[np.int8]:
    """Lowest and highest sample of each row, of 8 bits."""
    both = np.stack((rows.min(axis=1), rows.max(axis=1)), axis=1)
    shifted: npt.NDArray[np.int8] = (both >> 8).astype(np.int8)
    return shifted
