"""Opening one media file safely: what container and codec it is, how long it says it is, and nothing outside it.

Knows FFmpeg (through PyAV) and its error codes; knows nothing of resampling or of what the samples are for.
A media file can name others: playlists, concat scripts, references in QuickTime files, playlists inside AVI subtitles.
FFmpeg follows them with the rights of this process, so demuxers are restricted to `CONTAINERS`, no protocol is allowed,
and bytes come only from the file object given here. https://ffmpeg.org/security.html
"""

from __future__ import annotations

import errno
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import av
import av.error
from av.stream import Discard, Disposition

from milo.audio.parts import Part
from milo.errors import BadMedia, NotFound

CONTAINERS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,gsm,iff,loas,matroska,webm,mov,mp4,m4a,3gp,"
    "3g2,mj2,mp3,mpc,mpc8,mpeg,mpegts,ogg,oma,qcp,rm,tak,tta,voc,w64,wav,wv,xwma"
)
"""FFmpeg demuxers that may read an upload: audio files and films. No playlist, image, subtitle or device demuxer."""
MAX_CHANNELS = 64
MIN_RATE_HZ, MAX_RATE_HZ = 1_000, 1_000_000
_HEADER_DURATION = frozenset({"wav", "w64", "flac", "mov", "matroska", "aiff", "au", "caf", "ape", "wv", "tta", "tak"})
"""Demuxers whose duration is read from the header, and not estimated from the bit rate of the first packets."""
_BUFFER_BYTES = 128 * 1024
_HEAD_BYTES = 16 * 1024
_TAIL_BYTES = 128 * 1024
_MIN_BYTES_PER_S = 40
"""Thinnest stream whose claimed length is believed; codecs for speech start at 80 bytes a second."""


@dataclass(frozen=True)
class AudioInfo:
    """What the header says. Nothing in it was checked against the samples."""

    container: str
    """FFmpeg's first name of the demuxer: `wav`, `mov`, `matroska`, `ogg` …"""
    codec: str
    sample_rate_hz: int
    channels: int
    duration_s: float | None
    """Seconds, where the header tells or the bit rate lets one guess; None otherwise."""


class Media:
    """An open file and the audio stream picked from it. Made by `open_media`."""

    def __init__(self, container: Any, stream: Any, file: _OneFile) -> None:
        self.container = container
        self.stream = stream
        self.size_bytes, head, self._file = file.size_bytes, file.head, file
        self.name: str = container.format.name.split(",")[0]
        codec = stream.codec_context
        whole_s = self._seconds(container.duration, 1 / 1e6)
        track_s = self._seconds(stream.duration, stream.time_base) or (whole_s if len(container.streams) == 1 else None)
        self.info = AudioInfo(
            container=self.name,
            codec=codec.codec.canonical_name,
            sample_rate_hz=codec.sample_rate or 0,
            channels=codec.layout.nb_channels,
            duration_s=track_s or whole_s,
        )
        self.claim_s = (
            track_s
            if self.name in _HEADER_DURATION or (self.name == "mp3" and _has_xing(head, file.size_bytes))
            else None
        )
        """Length in seconds that a header field states, None where FFmpeg only guessed."""

    @staticmethod
    def _seconds(value: int | None, time_base: Any) -> float | None:
        return float(value * time_base) if value and value > 0 and time_base else None

    @property
    def plausible_claim_s(self) -> float | None:
        """`claim_s` where a file of this size can hold that much, else None."""
        if self.claim_s is None or self.size_bytes is None:
            return None
        codec = self.stream.codec_context
        bytes_per_s = _MIN_BYTES_PER_S
        if codec.name.startswith("pcm_"):
            bytes_per_s = max(1, codec.sample_rate * codec.layout.nb_channels)
        return self.claim_s if self.claim_s * bytes_per_s <= self.size_bytes else None

    def lacks_end(self) -> bool:
        """Whether an Ogg file has no page that ends its stream.

        To be asked after the last packet: it moves the position in the file.
        """
        return self.name == "ogg" and not _ends_ogg(self._file.tail(_TAIL_BYTES))


class _OneFile:
    """The only bytes FFmpeg gets: a file from where it stands, or a part of it. It has no name, so that no extension
    steers the probe."""

    def __init__(self, file: BinaryIO, part: Part | None) -> None:
        self._file = file
        self._patches = dict(part.patches) if part else {}
        self._end: int | None = None
        self._pending = b""
        self.size_bytes: int | None = None
        if getattr(file, "seekable", lambda: False)():
            self._origin = part.start if part else file.tell()
            self._end = part.end if part else file.seek(0, io.SEEK_END)
            self.size_bytes = self._end - self._origin
            file.seek(self._origin)
            self.seek = self._seek
            self.tell = lambda: file.tell() - self._origin
        self.head = _read_full(self, _HEAD_BYTES)
        if self.size_bytes is None:
            self._pending = self.head
        else:
            file.seek(self._origin)

    def readable(self) -> bool:
        return True

    def read(self, size: int) -> bytes:
        if self._pending:
            taken, self._pending = self._pending[:size], self._pending[size:]
            return taken
        if self._end is None:
            return self._file.read(size) or b""
        at = self._file.tell()
        return self._patched(self._file.read(max(0, min(size, self._end - at))) or b"", at)

    def _patched(self, content: bytes, at: int) -> bytes:
        for position, instead in self._patches.items():
            low, high = max(at, position), min(at + len(content), position + len(instead))
            if low < high:
                content = content[: low - at] + instead[low - position : high - position] + content[high - at :]
        return content

    def _seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END:
            offset, whence = offset + (self.size_bytes or 0), io.SEEK_SET
        try:
            return self._file.seek(offset + (self._origin if whence == io.SEEK_SET else 0), whence) - self._origin
        except (OSError, ValueError, OverflowError) as error:
            if isinstance(error, OSError) and error.errno != errno.EINVAL:
                raise
            return -errno.EINVAL  # a broken index points before the file: FFmpeg's to judge, no fault of the storage

    def tail(self, size: int) -> bytes:
        """The last bytes of a seekable file; nothing of another."""
        if self.size_bytes is None:
            return b""
        self._seek(max(0, self.size_bytes - size))
        return _read_full(self, size)


def _ends_ogg(tail: bytes) -> bool:
    at = tail.rfind(b"OggS")
    return at < 0 or len(tail) <= at + 5 or bool(tail[at + 5] & 4)


def _read_full(file: BinaryIO | _OneFile, size: int) -> bytes:
    parts: list[bytes] = []
    while size > 0 and (part := file.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _tag_bytes(head: bytes) -> int:
    """Size of an ID3v2 tag with its header: four bytes of seven bits. https://id3.org/id3v2.4.0-structure"""
    a, b, c, d = head[6:10].ljust(4, b"\0")
    return 10 + (a << 21 | b << 14 | c << 7 | d)


def _has_xing(head: bytes, size_bytes: int | None) -> bool:
    """Whether an mp3 carries a Xing, Info or VBRI frame: a length that was written down and not estimated.

    Not the one of the first of several files that were joined: its count of bytes ends long before the file does.
    """
    start = _tag_bytes(head) if head[:3] == b"ID3" else 0
    first = head[start : start + 256]
    at = max(first.find(b"Xing"), first.find(b"Info"))
    if at < 0:
        return b"VBRI" in first
    counts_bytes = int.from_bytes(first[at + 4 : at + 8], "big") & 3 == 3
    counted = int.from_bytes(first[at + 12 : at + 16], "big") if counts_bytes else 0
    return not counted or not size_bytes or (size_bytes - start) * 15 // 16 <= counted


@lru_cache(maxsize=1)
def audio_decoders() -> str:
    """Names of all audio decoders: the only ones that may run while FFmpeg analyses a film."""
    names = []
    for name in av.codecs_available:
        try:
            codec = av.Codec(name, "r")
        except ValueError:
            continue
        if codec.type == "audio":
            names.append(codec.name)
    return ",".join(sorted(set(names)))


def _refuse(url: str, flags: int, options: dict[str, str]) -> Any:
    raise BadMedia(
        "The file refers to another file or address. Milo reads only the file it was given.", code="external_reference"
    )


def _not_audio(head: bytes, size_bytes: int, error: Exception) -> BadMedia:
    """The right refusal for what FFmpeg could not open."""
    if head[:3] == b"ID3" and _tag_bytes(head) >= size_bytes:
        return BadMedia("The file holds tags and no audio.", code="no_samples")
    known = (b"RIFF", b"RF64", b"fLaC", b"OggS", b"\x1aE\xdf\xa3", b"ID3", b"FORM", b".snd", b"caff")
    if head.startswith(known) or head[4:8] == b"ftyp":
        return BadMedia(
            "The file starts like audio, but its structure is damaged or cut off: FFmpeg says "
            f"“{getattr(error, 'strerror', None) or error}”. Send the file again, or re-encode it.",
            code="corrupt_audio",
        )
    return BadMedia("The file is not audio or video in a format that can be read here.", code="not_audio")


def _pick(container: Any, track: int | None) -> Any:
    """Audio stream number `track` (None: as a player picks it), with every other one left unread. Raises `BadMedia`."""
    streams: Sequence[Any] = container.streams.audio
    if track is None:
        track = next((n for n, stream in enumerate(streams) if stream.disposition & Disposition.default), 0)
    if track < 0 or track >= len(streams):
        held = "no audio track" if not streams else f"{len(streams)} audio track(s)"
        raise BadMedia(f"The file has {held}; track {track} was asked for.", code="no_audio_track")
    picked = streams[track]
    for stream in container.streams:
        if stream.index != picked.index:
            stream.discard = Discard.all
    if picked.codec_context is None:
        raise BadMedia("The audio track uses a codec that can't be decoded here.", code="unsupported_audio")
    check_shape(picked.codec_context.sample_rate or MIN_RATE_HZ, picked.codec_context.layout.nb_channels)
    return picked


def refuse_hunger(error: Exception) -> None:
    """Raises `BadMedia` for FFmpeg's “out of memory”: it is no broken packet, to be passed over."""
    if getattr(error, "errno", None) == errno.ENOMEM:
        raise BadMedia("Decoding the file takes more memory than it may have. Re-encode it.", code="decode_limit")


def check_shape(sample_rate_hz: int, channels: int) -> None:
    """Raises `BadMedia` for a sample rate or a channel count that no recording has."""
    if not MIN_RATE_HZ <= sample_rate_hz <= MAX_RATE_HZ:
        raise BadMedia(
            f"The audio claims a sample rate of {sample_rate_hz} Hz; "
            f"{MIN_RATE_HZ} to {MAX_RATE_HZ} Hz can be read. Re-encode the file.",
            code="unsupported_audio",
        )
    if not 1 <= channels <= MAX_CHANNELS:
        raise BadMedia(
            f"The audio claims {channels} channels; 1 to {MAX_CHANNELS} can be read. Re-encode the file.",
            code="unsupported_audio",
        )


@contextmanager
def open_binary(source: Path | BinaryIO) -> Iterator[BinaryIO]:
    """The file of a path, or the file object as it is. `NotFound` for a path that is not a regular file."""
    if not isinstance(source, Path):
        yield source
        return
    if not source.is_file():
        raise NotFound(f"There is no file {source.name}.", code="no_such_file")
    with source.open("rb") as file:
        yield file


@contextmanager
def open_media(source: Path | BinaryIO, *, track: int | None = None, part: Part | None = None) -> Iterator[Media]:
    """Opens a path or a binary file object, or a `part` of it, for decoding audio stream number `track`, from 0.

    None: the one that the file marks as its default, else the first.

    Raises `BadMedia` with code empty_audio, not_audio, corrupt_audio, no_audio_track, unsupported_audio or
    external_reference; `NotFound` for a path that is not a regular file. Errors of the file object pass through.
    """
    with open_binary(source) as file:
        only = _OneFile(file, part)
        if not only.head:
            raise BadMedia("The file is empty (0 bytes).", code="empty_audio")
        options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "none", "codec_whitelist": audio_decoders()}
        try:
            container = av.open(
                only,
                "r",
                container_options=options,
                metadata_errors="replace",
                buffer_size=_BUFFER_BYTES,
                io_open=_refuse,
            )
        except (av.error.FFmpegError, ValueError) as error:
            refuse_hunger(error)
            raise _not_audio(only.head, only.size_bytes or len(only.head), error) from error
        with container:
            yield Media(container, _pick(container, track), only)
