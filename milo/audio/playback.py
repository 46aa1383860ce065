"""Which recordings browsers play as they are, and an MP3 for those that they don't."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av

from milo.audio.encode import codec_of
from milo.audio.media import AudioInfo
from milo.audio.mixdown import SAMPLE_RATE_HZ, Pcm

PLAYABLE = {
    "wav": ("audio/wav", ("pcm_s16le", "pcm_u8", "pcm_s24le", "pcm_f32le")),
    "mp3": ("audio/mpeg", ("mp3", "mp3float")),
    "flac": ("audio/flac", ("flac",)),
    "ogg": ("audio/ogg", ("opus", "vorbis")),
    "mov": ("audio/mp4", ("aac", "mp3", "mp3float")),
}
"""Container -> media type, and the codecs in it that Chromium, Firefox and Safari (Ogg: from 18.4 on) play.

Not Matroska: what a browser's MediaRecorder writes has no length and no index, so nobody can seek in it. Nor raw
AAC, for the same reason.
"""
FORMAT = "mp3"
MEDIA_TYPE = "audio/mpeg"


def playable(info: AudioInfo) -> str | None:
    """The media type under which a browser plays the file as it is; None for one that it can't play, or seek in."""
    media_type, codecs = PLAYABLE.get(info.container, ("", ()))
    fits = info.codec in codecs and 1 <= info.channels <= 2 and info.duration_s is not None
    return media_type if fits else None


class Mp3File:
    """Mono MP3 of samples at 16 kHz, with a table to seek by and the delay that decoders cut off, so that its times are
    those of the samples. `close` completes the file."""

    def __init__(self, path: Path) -> None:
        codec, rate_hz = codec_of(FORMAT, SAMPLE_RATE_HZ)
        self._container: Any = av.open(str(path), "w", format=codec.container, options={"write_xing": "1"})
        self._stream: Any = self._container.add_stream(codec.encoder, rate=rate_hz, layout="mono")
        self._stream.bit_rate = codec.bit_rate
        self._at = 0
        context = self._stream.codec_context
        context.open(strict=False)
        self._resampler = av.AudioResampler(
            format=context.format, layout="mono", rate=rate_hz, frame_size=context.frame_size or None
        )

    def add(self, pcm: Pcm) -> None:
        """The next samples."""
        for start in range(0, len(pcm), SAMPLE_RATE_HZ):
            frame = av.AudioFrame.from_ndarray(pcm[None, start : start + SAMPLE_RATE_HZ], format="s16", layout="mono")
            frame.sample_rate, frame.pts = SAMPLE_RATE_HZ, self._at
            self._at += frame.samples
            self._mux(frame)

    def close(self) -> None:
        """Write what is left, and the head."""
        self._mux(None)
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def _mux(self, frame: Any) -> None:
        for ready in self._resampler.resample(frame):
            self._container.mux(self._stream.encode(ready))
