"""The recordings that one file holds end to end: links of a chained Ogg, and files that were joined with `cat`.

FFmpeg reads the first, and of the rest what happens to fit it: the same rate, the same channels, the same container
without a header of its own. So each part is opened for itself. Reads the structure of the containers; decodes nothing.
"""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from milo.audio.riff import Wav, find_all, find_wavs, is_wav, read_wav

MAX_PARTS = 1000
"""Of a file with more, the last part is all the rest."""
_LONGEST_HEAD = 64
_OGG = re.compile(rb"OggS\x00[\x02\x06]")
"""A page that begins a stream. RFC 3533, section 6."""
_FLAC = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
_EBML = re.compile(rb"\x1aE\xdf\xa3[\x01-\xff].{0,7}?\x42[\x86\x82]", re.DOTALL)
_SEGMENT = b"\x18\x53\x80\x67"
_MP4_FIRST = (b"ftyp", b"moov", b"styp")


@dataclass(frozen=True)
class Part:
    """One recording: the bytes from `start` to `end` of the file."""

    start: int
    end: int
    patches: dict[int, bytes] = field(default_factory=dict)
    """What to read in place of what is there, by position in the file: sizes that are wrong."""
    wav: Wav | None = None

    @property
    def missing_s(self) -> float:
        """Seconds that a WAV's header claims and that are not there."""
        return max(0, -self.wav.surplus_bytes) / self.wav.bytes_per_s if self.wav else 0.0


def find_parts(file: BinaryIO) -> list[Part]:
    """The parts of a seekable file from where it stands, at least one; the position is kept.

    None of a file that can't seek: it is read as FFmpeg reads it.
    """
    if not getattr(file, "seekable", lambda: False)():
        return []
    start = file.tell()
    try:
        end = file.seek(0, io.SEEK_END)
        file.seek(start)
        head = file.read(_LONGEST_HEAD)
        if is_wav(head):
            return _wavs(file, start, end)
        finder = _finder(head)
        later = itertools.islice(finder(file, start, end), MAX_PARTS - 1) if finder else iter(())
        starts = [start, *(at for at in later if at > start)]
        return [Part(*pair) for pair in itertools.pairwise([*starts, end])]
    finally:
        file.seek(start)


def wrong_length(parts: list[Part]) -> str:
    """What the headers of WAVs claim and what was there, as a warning; empty where they are right."""
    wavs = [part.wav for part in parts if part.wav]
    if len(wavs) == 1 and not wavs[0].surplus_bytes:
        return ""
    first, held = (wavs[0], sum(wav.held_bytes for wav in wavs)) if wavs else (None, 0)
    if first is None or first.claimed_bytes is None:
        return ""
    held_s = sum(wav.held_bytes / wav.bytes_per_s for wav in wavs)
    claimed = f"{first.claimed_bytes} bytes of audio ({first.claimed_bytes / first.bytes_per_s:.3f} s)"
    where = f" in {len(wavs)} recordings, one behind the other" if len(wavs) > 1 else ""
    return f"wrong_length: the header claims {claimed}; the file holds {held} ({held_s:.3f} s){where}. All was read."


def _wavs(file: BinaryIO, start: int, end: int) -> list[Part]:
    later = itertools.islice(find_wavs(file, start, end), MAX_PARTS - 1)
    parts = []
    for first, behind in itertools.pairwise([start, *later, end]):
        wav = read_wav(file, first, behind)
        cut = wav.data_at + wav.held_bytes if wav and wav.surplus_bytes else behind
        parts.append(Part(first, cut, wav.patches() if wav else {}, wav))
    return parts


Finder = Callable[[BinaryIO, int, int], Iterator[int]]


def _finder(head: bytes) -> Finder | None:
    """What finds the beginnings of later parts in a file that begins like this."""
    if head[:4] == b"OggS":
        return _oggs
    if head[:4] == b"fLaC":
        return lambda file, start, end: find_all(file, _FLAC, start + 4, end, 8)
    if head[:4] == b"\x1aE\xdf\xa3":
        return _matroskas
    return _mp4s if head[4:8] in _MP4_FIRST else None


def _oggs(file: BinaryIO, start: int, end: int) -> Iterator[int]:
    """Links of a chain. The first pages of all streams of a link stand together at its beginning."""
    behind = start
    for at in find_all(file, _OGG, start, end, 6):
        if at != behind:
            yield at
        file.seek(at + 26)
        segments = file.read(1)
        behind = at + 27 + (segments[0] + sum(file.read(segments[0])) if segments else 0)


def _matroskas(file: BinaryIO, start: int, end: int) -> Iterator[int]:
    """By the size of the segment; where it is not stated (a live recording), by looking for the next header."""
    at = start
    while at < end:
        file.seek(at)
        head = file.read(256)
        segment = head.find(_SEGMENT)
        size, width = _vint(head[segment + 4 : segment + 12])
        if segment < 0 or size is None:
            yield from find_all(file, _EBML, at + 4, end, _LONGEST_HEAD)
            return
        at += segment + 4 + width + size
        file.seek(min(at, end))
        if not _EBML.match(file.read(_LONGEST_HEAD)):
            return
        yield at


def _vint(content: bytes) -> tuple[int | None, int]:
    """A size of EBML and its width in bytes; None: unknown. RFC 8794, section 4."""
    width = 9 - content[0].bit_length() if content and content[0] else 0
    if not 1 <= width <= 8 or len(content) < width:
        return None, 0
    value = int.from_bytes(content[:width], "big") & ((1 << 7 * width) - 1)
    return (None if value == (1 << 7 * width) - 1 else value), width


def _mp4s(file: BinaryIO, start: int, end: int) -> Iterator[int]:
    """A new file begins with `ftyp`; a new head without one is a second `moov` behind fragments."""
    at, last, fragments = start, b"", False
    while at + 8 <= end:
        file.seek(at)
        head = file.read(16)
        size, name = int.from_bytes(head[:4], "big"), head[4:8]
        if at > start and (name == b"ftyp" or (name == b"moov" and fragments and last != b"ftyp")):
            yield at
            fragments = False
        fragments |= name == b"moof"
        last = name
        size = int.from_bytes(head[8:16], "big") if size == 1 else size
        if size < 8:  # 0: up to the end of the file
            return
        at += size
