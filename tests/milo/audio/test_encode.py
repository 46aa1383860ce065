from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from milo.audio.encode import FORMATS, MEDIA_TYPES
from milo.audio.reading import encode, probe, stream
from milo.errors import Invalid
from tests.support.audio_factory import onset_s, tone_at

FILES = [name for name in FORMATS if name != "pcm"]


@pytest.mark.parametrize("format", FILES)
@pytest.mark.parametrize("rate_hz", [16000, 22050, 24000])
def test_what_is_encoded_is_decoded_at_the_same_place(format: str, rate_hz: int) -> None:
    audio = stream(io.BytesIO(encode(tone_at(1.0, 3.0, rate_hz), rate_hz, format)), max_s=60)
    pcm = np.concatenate(list(audio))
    raw_aac = format == "aac"  # has no place for its delay of 1024 samples
    assert onset_s(pcm) == pytest.approx(1.0, abs=0.08 if raw_aac else 0.003)
    assert len(pcm) / 16000 == pytest.approx(3.0, abs=0.15 if raw_aac else 1e-3)
    assert audio.warnings == []


@pytest.mark.parametrize("format", ["wav", "flac", "mp3", "ogg"])
def test_headers_carry_the_true_length(format: str) -> None:
    data = encode(tone_at(1.0, 3.0, 24000), 24000, format)
    assert probe(io.BytesIO(data)).duration_s == pytest.approx(3.0, abs=0.03)
    if format != "ogg":
        assert soundfile.info(io.BytesIO(data)).duration == pytest.approx(3.0, abs=0.06)


def test_pcm_is_bare_samples() -> None:
    assert encode(np.array([0.5, -1.0, 1.0, np.nan], np.float32), 16000, "pcm") == bytes.fromhex("00400080ff7f0000")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("count", [0, 1, 100])
def test_hardly_any_samples_still_make_a_file(format: str, count: int) -> None:
    data = encode(np.zeros(count, np.float32), 16000, format)
    if count:
        assert data
    if count and format != "pcm":
        assert sum(map(len, stream(io.BytesIO(data), max_s=1))) >= count


def test_every_format_has_a_media_type() -> None:
    assert set(MEDIA_TYPES) == set(FORMATS)


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(Invalid, match="aiff"):
        encode(np.zeros(10, np.float32), 16000, "aiff")
