"""The names of audio formats: those that Milo writes, and those that it takes from a folder. Loads nothing."""

from __future__ import annotations

import struct

MEDIA_TYPES = {
    "wav": "audio/wav",
    "pcm": "audio/pcm",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "opus": "audio/ogg",
    "mp3": "audio/mpeg",
    "aac": "audio/aac",
}
AUDIO_FORMATS = tuple(MEDIA_TYPES)
RECORDING_SUFFIXES = frozenset(
    ".3ga .3gp .aac .ac3 .aif .aifc .aiff .alac .amr .ape .au .avi .awb .caf .dsf .dts .eac3 .flac .flv .gsm .m2ts "
    ".m4a .m4b .m4v .mka .mkv .mov .mp2 .mp3 .mp4 .mpc .mpeg .mpg .mpga .mts .oga .ogg .ogv .opus .qcp .ra .rf64 .rm "
    ".spx .tak .ts .tta .vob .voc .w64 .wav .wave .weba .webm .wma .wmv .wv".split()
)
"""What is taken from a folder, in lower case. A file that is named itself is taken whatever it is called."""
UNKNOWN_BYTES = 0xFFFFFFFF
"""What stands in a WAV header for a length that is not known yet (as ffmpeg and sox write it to a pipe)."""


def wav_header(data_bytes: int | None, sample_rate_hz: int) -> bytes:
    """RIFF header of mono 16-bit PCM. None: the length is not known, for a file that is written to a stream."""
    fmt = struct.pack("<IHHIIHH", 16, 1, 1, sample_rate_hz, sample_rate_hz * 2, 2, 16)
    whole = UNKNOWN_BYTES if data_bytes is None else 36 + data_bytes
    data = UNKNOWN_BYTES if data_bytes is None else data_bytes
    return b"RIFF" + struct.pack("<I", whole) + b"WAVEfmt " + fmt + b"data" + struct.pack("<I", data)
