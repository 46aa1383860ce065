"""How much audio a WAV holds, whatever its header says of it: the chunks of RIFF, RF64 and BW64.

The size of the `data` chunk is wrong in files of programs that crashed, that did not count the header right, that were
cut off on the way, that grew past 4 GiB, or that were joined with `cat`. What the file has is what counts.
https://www.mmsp.ece.mcgill.ca/Documents/AudioFormats/WAVE/WAVE.html, https://tech.ebu.ch/docs/tech/tech3306.pdf
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

_FORMS = (b"RIFF", b"RF64", b"BW64")
_HEAD = re.compile(rb"(?:RIFF|RF64|BW64).{4}WAVE(?:fmt |ds64|JUNK|bext|LIST)", re.DOTALL)
_HEAD_BYTES = 16
_METADATA = frozenset(
    b"LIST|id3 |ID3 |bext|iXML|_PMX|cue |smpl|inst|fact|PEAK|JUNK|junk|FLLR|PAD |afsp|cart|DISP|acid|strc|axml|chna|"
    b"umid|levl|plst|adtl|note|labl|ltxt|mext|link|SAUR|minf|elm1|regn|TAGT|Cr8r|data".split(b"|")
)
"""Chunks that follow the samples. Anything else there is told from them by whether chunks fill the rest exactly."""
_MAX_CHUNKS = 1000
_TAIL_BYTES = 64 * 1024
_PADDING_BYTES = 4096
"""So many zeros behind the samples fill a sector, and are no audio."""
_SCAN_BYTES = 1 << 20
_DATA64 = 8
"""Where in `ds64` the true size of the samples stands."""


@dataclass(frozen=True)
class Wav:
    """The samples of one WAV within a file. Positions are those of the file."""

    data_at: int
    size_at: int
    """Where the size of `data` stands, in 4 bytes."""
    claimed_bytes: int | None
    """What the header says; None: that it is not known."""
    held_bytes: int
    """What is there."""
    bytes_per_s: int
    size64_at: int | None = None
    """Where RF64 has the size, in 8 bytes."""

    @property
    def surplus_bytes(self) -> int:
        """What is there beyond the claim; below 0: what is missing. A byte of padding is neither."""
        if self.claimed_bytes is None or abs(self.held_bytes - self.claimed_bytes) <= 1:
            return 0
        return self.held_bytes - self.claimed_bytes

    def patches(self) -> dict[int, bytes]:
        """The true size, for where the header has another one: bytes by their position in the file."""
        if not self.surplus_bytes:
            return {}
        if self.size64_at is not None:
            return {self.size64_at: struct.pack("<Q", self.held_bytes)}
        return {self.size_at: struct.pack("<I", self.held_bytes if self.held_bytes < 0xFFFF_F000 else 0xFFFF_FFFF)}


def read_wav(file: BinaryIO, start: int, end: int) -> Wav | None:
    """The WAV that begins at `start` of a seekable file; `end` is the end of the file. None: no samples."""
    data_at = claimed = size64_at = None
    bytes_per_s = 1
    for name, at, size in _chunks(file, start + 12, end):
        if name == b"fmt " and size >= 16:
            _, _, rate_hz, bytes_per_s, align = struct.unpack("<HHIIH", _read(file, at, 14).ljust(14, b"\0"))
            bytes_per_s = bytes_per_s or rate_hz * align or 1
        elif name == b"ds64":
            size64_at = at + _DATA64
        elif name == b"data":
            data_at, claimed = at, _claim(file, size, size64_at)
            break
    if data_at is None:
        return None
    if size64_at is not None and _read(file, data_at - 4, 4) != b"\xff" * 4:
        size64_at = None
    held = _held(file, data_at, claimed, end)
    return Wav(data_at, data_at - 4, claimed, held, bytes_per_s, size64_at)


def is_wav(head: bytes) -> bool:
    return head[:4] in _FORMS and head[8:12] == b"WAVE"


def find_wavs(file: BinaryIO, start: int, end: int) -> Iterator[int]:
    """Where WAVs begin that follow the one at `start`: files that were joined end to end."""
    wav = read_wav(file, start, end)
    if wav is None:
        return
    known_end = wav.data_at + (wav.claimed_bytes or 0)
    if wav.claimed_bytes and known_end + 1 >= end and known_end - end < 2 * _HEAD_BYTES:
        return  # the header is right, and nothing follows
    believed = wav.claimed_bytes and known_end < end and _ends_at(file, known_end, end)
    from_at = known_end if believed else wav.data_at
    yield from find_all(file, _HEAD, from_at, end, _HEAD_BYTES)


def _ends_at(file: BinaryIO, at: int, end: int) -> bool:
    """Whether the samples end there: something that is none begins."""
    return _is_metadata(file, at, end) or any(_HEAD.match(_read(file, first, _HEAD_BYTES)) for first in (at, at + 1))


def find_all(file: BinaryIO, pattern: re.Pattern[bytes], start: int, end: int, longest: int) -> Iterator[int]:
    """Every position from `start` on where the pattern matches; it matches at most `longest` bytes."""
    at, last = start, -1
    while at < end:
        content = _read(file, at, min(_SCAN_BYTES + longest, end - at))
        if not content:
            return
        for match in pattern.finditer(content):
            if at + match.start() > last:
                last = at + match.start()
                yield last
        at += _SCAN_BYTES


def _claim(file: BinaryIO, size: int, size64_at: int | None) -> int | None:
    """The size of `data` as the header has it; None for what writers to a pipe leave there."""
    if size == 0xFFFF_FFFF and size64_at is not None:
        size64 = int.from_bytes(_read(file, size64_at, 8), "little")
        return size64 if 0 < size64 < 1 << 62 else None
    unknown = size == 0 or size >= 0xFFFF_F000 or 0x7FFF_F000 <= size <= 0x7FFF_FFFF
    return None if unknown else size


def _held(file: BinaryIO, data_at: int, claimed: int | None, end: int) -> int:
    """Bytes of audio between `data_at` and `end`."""
    claimed_end = data_at + (claimed or 0)
    if claimed and claimed_end >= end:
        return end - data_at
    if claimed and _is_metadata(file, claimed_end, end):
        return claimed
    return _without_tail_chunk(file, max(data_at, claimed_end), end) - data_at


def _is_metadata(file: BinaryIO, at: int, end: int) -> bool:
    """Whether what stands behind the samples is no audio: chunks, as RIFF has them, or the zeros of a sector."""
    if end - at <= _PADDING_BYTES and not any(_read(file, at, end - at)):
        return True
    for first in (at + at % 2, at, at + 1):
        name = _read(file, first, 4)
        if name in _METADATA or (name[:3] == b"TAG" and end - first <= 128):
            return True
        if _fills(file, first, end):
            return True
    return False


def _fills(file: BinaryIO, first: int, end: int) -> bool:
    """Whether chunks with names in ASCII follow each other from `first` up to the end."""
    reached = first
    for count, (name, at, size) in enumerate(_chunks(file, first, end)):
        if count > _MAX_CHUNKS or not name.isascii() or not name.decode("ascii").isprintable():
            return False
        reached = at + size
    return reached > first and abs(end - reached) <= 1


def _without_tail_chunk(file: BinaryIO, at: int, end: int) -> int:
    """Where the audio ends that runs on from `at`: before a chunk of metadata, if one reaches to the end."""
    low = max(at, end - _TAIL_BYTES)
    tail = _read(file, low, end - low)
    for name in _METADATA - {b"data"}:
        found = tail.find(name)
        while found >= 0:
            size = int.from_bytes(tail[found + 4 : found + 8], "little")
            if found + 8 <= len(tail) and 0 <= len(tail) - (found + 8 + size) <= 1:
                return low + found
            found = tail.find(name, found + 1)
    return end


def _chunks(file: BinaryIO, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(name, first byte of the content, size) of each chunk from `at` on."""
    for _ in range(_MAX_CHUNKS):
        head = _read(file, at, 8) if at + 8 <= end else b""
        if len(head) < 8:
            return
        size = int.from_bytes(head[4:], "little")
        yield head[:4], at + 8, size
        at += 8 + size + size % 2


def _read(file: BinaryIO, at: int, size: int) -> bytes:
    file.seek(at)
    parts: list[bytes] = []
    while size > 0 and (part := file.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
