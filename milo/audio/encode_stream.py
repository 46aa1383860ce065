"""An audio file that is written while it is still being spoken: 16-bit samples in, pieces of the file out.

Every format of `milo.audio.formats` can be streamed. What a finished file has and a streamed one can't: the lengths in
the headers of wav and flac (players read on to the end), and the seek table of mp3.
"""

from __future__ import annotations

from typing import Any, Protocol

from milo.audio.formats import AUDIO_FORMATS, wav_header
from milo.errors import Invalid


class StreamEncoder(Protocol):
    """Feed it until all is said, then close it; what both return, in order, is the file."""

    def feed(self, pcm: bytes) -> bytes:
        """The next piece of the file. `pcm`: mono int16 little endian."""

    def close(self) -> bytes:
        """The end of the file."""


def stream_encoder(sample_rate_hz: int, format: str) -> StreamEncoder:
    """An encoder for samples of this rate. Raises `Invalid` (unknown_format). wav and pcm load no codec."""
    if format not in AUDIO_FORMATS:
        raise Invalid(f"unknown audio format {format!r}; one of {', '.join(AUDIO_FORMATS)}", code="unknown_format")
    if format in ("wav", "pcm"):
        return _Plain(wav_header(None, sample_rate_hz) if format == "wav" else b"")
    return _Compressed(sample_rate_hz, format)


class _Plain:
    def __init__(self, header: bytes) -> None:
        self._header = header

    def feed(self, pcm: bytes) -> bytes:
        piece, self._header = self._header + pcm, b""
        return piece

    def close(self) -> bytes:
        return self._header


class _Sink:
    """Where the muxer writes: it has no `seek`, so nothing is patched afterwards."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def drain(self) -> bytes:
        drained, self._pieces = b"".join(self._pieces), []
        return drained


class _Compressed:
    """By the same codecs, rates and bit rates as `milo.audio.encode`."""

    def __init__(self, sample_rate_hz: int, format: str) -> None:
        import av

        from milo.audio.encode import codec_of  # here: it loads PyAV, and wav and pcm need none

        codec, rate_hz = codec_of(format, sample_rate_hz)
        options = {"flush_packets": "1", "write_xing": "0", "id3v2_version": "0", "page_duration": "100000"}
        options |= {"fflags": "+bitexact"}  # no random stream number
        known = {"mp3": ("write_xing", "id3v2_version"), "ogg": ("page_duration",)}.get(codec.container, ())
        self._sink = _Sink()
        self._rate_hz = sample_rate_hz
        self._at = 0
        self._container: Any = av.open(
            self._sink,
            "w",
            format=codec.container,
            options={name: options[name] for name in ("flush_packets", "fflags", *known)},
            buffer_size=4096,
        )
        self._stream: Any = self._container.add_stream(codec.encoder, rate=rate_hz, layout="mono")
        if codec.bit_rate:
            self._stream.bit_rate = codec.bit_rate
        context = self._stream.codec_context
        context.open(strict=False)
        size = context.frame_size or None
        self._resampler = av.AudioResampler(format=context.format, layout="mono", rate=rate_hz, frame_size=size)

    def feed(self, pcm: bytes) -> bytes:
        import av
        import numpy as np

        samples = np.frombuffer(pcm, "<i2").astype(np.int16)
        for start in range(0, len(samples), self._rate_hz):  # a second at a time, as the resampler likes it
            piece = samples[None, start : start + self._rate_hz]
            frame = av.AudioFrame.from_ndarray(piece, format="s16", layout="mono")
            frame.sample_rate, frame.pts = self._rate_hz, self._at
            self._at += piece.shape[1]
            self._mux(frame)
        return self._sink.drain()

    def close(self) -> bytes:
        if self._at == 0:
            self.feed(b"\0\0")  # no codec makes a file of nothing
        self._mux(None)
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._sink.drain()

    def _mux(self, frame: Any) -> None:
        for ready in self._resampler.resample(frame):
            self._container.mux(self._stream.encode(ready))
