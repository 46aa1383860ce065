"""A part of a long recording, to the sample, without a copy of it on the disk.

A part is what the same samples of the whole recording are, decoded and resampled. WAV and FLAC are entered where the
part begins; other files are decoded from their beginning, and the last ones kept, so that the next part costs nothing.
"""

from __future__ import annotations

import io
import math
import os
import threading
from collections import OrderedDict
from collections.abc import Generator
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile

from milo.audio import reading
from milo.audio.lasting import BLOCK_S, LastingDecoder
from milo.audio.mixdown import Pcm, Resampler, mix
from milo.errors import MiloError
from trainer.data.measure import Audio, to_float

RATE_HZ = reading.SAMPLE_RATE_HZ
PAST_END_S = 0.5
"""A part that ends so much later than its recording ends with it: times are rounded in many sets."""
LEAD = 8192
"""Samples of the source that are decoded before the part, for the filter of the resampler."""
SEEKABLE = ("WAV", "WAVEX", "FLAC", "W64", "RF64", "AIFF")
KEPT_S = 7200
"""Seconds of decoded recordings that are kept (230 MB)."""
LONGEST_S = 48 * 3600.0
"""Of a recording that has to be decoded whole."""


def cut(file: BinaryIO, start_s: float, end_s: float, decoder: LastingDecoder) -> Audio:
    """Mono float32 at 16 kHz: samples round(16000 start_s) to round(16000 end_s) of it. Raises `MiloError`."""
    first, last = round(start_s * RATE_HZ), round(end_s * RATE_HZ)
    blocks, entered = decoder.run(f"{__name__}:entered", file, end_s - start_s + 60, first=first, last=last)
    if entered:
        part = np.concatenate(blocks) if blocks else np.zeros(0, np.int16)
    else:
        file.seek(0)
        part = _WHOLE.get(file, decoder)[first:last]
    if not len(part):
        raise MiloError(f"the recording ends before {start_s:g} s", code="no_samples")
    return to_float(part)


def entered(file: BinaryIO, first: int, last: int) -> Generator[Pcm, None, bool]:
    """The same samples, read from near where they begin, in blocks; returns False for what can't be entered so, or is
    shorter than that. Runs in the process apart."""
    part = _entered(file, first, last)
    if part is None:
        return False
    size = round(BLOCK_S * RATE_HZ)
    yield from (part[at : at + size] for at in range(0, len(part), size))
    return True


def _entered(source: BinaryIO, first: int, last: int) -> Pcm | None:
    try:
        with soundfile.SoundFile(source) as file:
            if file.format not in SEEKABLE or file.channels > 2 or file.subtype in ("DOUBLE", "ULAW", "ALAW"):
                return None
            rate = file.samplerate
            common = math.gcd(rate, RATE_HZ)
            step, made = rate // common, RATE_HZ // common  # so many samples in, so many out, and the phase is 0 again
            begin = max(0, (first * step // made - LEAD) // step * step)
            end = last * step // made + LEAD
            if file.frames * RATE_HZ // rate < last:
                return None  # the header may say less than is there
            file.seek(begin)
            raw = file.read(end - begin, dtype="float32", always_2d=True).T
    except (soundfile.LibsndfileError, RuntimeError):
        return None
    signal = mix(raw, np.full(len(raw), 1 / len(raw), np.float32))
    resampler = Resampler(rate)
    pcm = np.concatenate([*resampler.push(signal), *resampler.finish()])
    skipped = first - begin * made // step
    return pcm[skipped : skipped + last - first]


class _Recordings:
    """Whole recordings as they were decoded last, int16 at 16 kHz."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[object, npt.NDArray[np.int16]] = OrderedDict()

    def get(self, file: BinaryIO, decoder: LastingDecoder) -> Pcm:
        key = _key(file)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            whole = decoder.decode(file, LONGEST_S)
            self._kept[key] = whole
            while len(self._kept) > 1 and sum(map(len, self._kept.values())) > KEPT_S * RATE_HZ:
                self._kept.popitem(last=False)
            return whole


def _key(file: BinaryIO) -> object:
    """The same for the same recording: which file it is and when it was written, or what it holds."""
    if isinstance(file, io.BytesIO):
        return hash(file.getvalue())
    state = os.fstat(file.fileno())
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns


_WHOLE = _Recordings()
