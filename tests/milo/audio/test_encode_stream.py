"""A file that was written in pieces decodes to what was said."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest

from milo.audio.encode_stream import stream_encoder
from milo.audio.formats import AUDIO_FORMATS
from milo.errors import Invalid

RATE_HZ = 22050


def tone(seconds: float) -> bytes:
    wave = 0.4 * np.sin(2 * np.pi * 440 * np.arange(round(RATE_HZ * seconds)) / RATE_HZ)
    return bytes((wave * 32767).astype("<i2").tobytes())


def decoded_s(content: bytes) -> float:
    with av.open(io.BytesIO(content)) as container:
        return sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))


@pytest.mark.parametrize("format", [name for name in AUDIO_FORMATS if name != "pcm"])
def test_every_format_streams_and_its_pieces_are_one_file(format: str) -> None:
    encoder = stream_encoder(RATE_HZ, format)
    pieces = [encoder.feed(tone(1.0)), encoder.feed(tone(0.7)), encoder.close()]
    assert pieces[0] and pieces[1], "nothing leaves before the end"
    assert decoded_s(b"".join(pieces)) == pytest.approx(1.7, abs=0.12)
    assert decoded_s(pieces[0]) > 0.4, "the first piece can't be played by itself"


@pytest.mark.parametrize("format", AUDIO_FORMATS)
def test_a_second_encoder_writes_the_same_bytes(format: str) -> None:
    def written() -> bytes:
        encoder = stream_encoder(RATE_HZ, format)
        return encoder.feed(tone(0.3)) + encoder.feed(tone(0.7)) + encoder.close()

    assert written() == written()


def test_pcm_is_passed_through() -> None:
    encoder = stream_encoder(RATE_HZ, "pcm")
    assert encoder.feed(tone(0.1)) + encoder.close() == tone(0.1)


def test_an_unknown_format_is_refused_with_the_list() -> None:
    with pytest.raises(Invalid, match="flac") as error:
        stream_encoder(RATE_HZ, "doc")
    assert error.value.code == "unknown_format"
