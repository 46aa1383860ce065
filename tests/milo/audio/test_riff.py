"""WAVs whose header claims another length than is there."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest

from milo.audio.reading import stream
from tests.support.audio_factory import wav

PCM = np.random.default_rng(0).integers(-9000, 9000, 3 * 16_000, dtype=np.int16)
LIST = b"LIST" + struct.pack("<I", 26) + b"INFOISFT" + struct.pack("<I", 14) + b"Lavf60.16.100\0"


def decode(data: bytes) -> tuple[np.ndarray, list[str]]:
    audio = stream(io.BytesIO(data), max_s=60.0)
    return np.concatenate(list(audio)), audio.warnings


@pytest.mark.parametrize(("claim_bytes", "claim_s"), [(32_000, "1.000"), (2, "0.000"), (95_998, "3.000")])
def test_what_is_there_beyond_the_claim_is_read_and_told(claim_bytes: int, claim_s: str) -> None:
    pcm, warnings = decode(wav(PCM.tobytes(), claim_bytes=claim_bytes))
    assert np.array_equal(pcm, PCM)
    assert warnings == [
        f"wrong_length: the header claims {claim_bytes} bytes of audio ({claim_s} s); "
        "the file holds 96000 (3.000 s). All was read."
    ]


def test_a_claim_of_44_bytes_too_many_is_told_and_the_file_is_not_called_cut_off() -> None:
    pcm, warnings = decode(wav(PCM.tobytes(), claim_bytes=PCM.nbytes + 44))
    assert np.array_equal(pcm, PCM)
    assert warnings == [
        "wrong_length: the header claims 96044 bytes of audio (3.001 s); the file holds 96000 (3.000 s). All was read."
    ]


def test_a_file_that_was_cut_off_says_both() -> None:
    pcm, warnings = decode(wav(PCM[:20_000].tobytes(), claim_bytes=PCM.nbytes))
    assert np.array_equal(pcm, PCM[:20_000])
    assert [warning.partition(":")[0] for warning in warnings] == ["truncated", "wrong_length"]


@pytest.mark.parametrize(
    "behind",
    [
        LIST,
        b"\0" * 512,
        b"TAG" + b" " * 125,
        b"id3 " + struct.pack("<I", 10) + b"ID3\x04\0\0\0\0\0\0",
        b"mine" + struct.pack("<I", 4) + b"\1\2\3\4" + LIST,
    ],
    ids=["list", "zeros", "id3v1", "id3v2", "a chunk of its own"],
)
def test_chunks_and_padding_behind_the_samples_are_no_audio(behind: bytes) -> None:
    pcm, warnings = decode(wav(PCM.tobytes()) + behind)
    assert np.array_equal(pcm, PCM) and warnings == []


def test_a_chunk_behind_samples_that_the_header_does_not_count_is_no_audio_either() -> None:
    pcm, warnings = decode(wav(PCM.tobytes(), claim_bytes=32_000) + LIST)
    assert np.array_equal(pcm, PCM) and len(warnings) == 1


@pytest.mark.parametrize("claim_bytes", [32_000, 96_044, 96_000])
def test_rf64_is_read_by_the_same_rule(claim_bytes: int) -> None:
    sizes = struct.pack("<QQQI", 72 + claim_bytes, claim_bytes, claim_bytes // 2, 0)
    plain = wav(PCM.tobytes(), claim_bytes=0xFFFF_FFFF)
    data = b"RF64" + plain[4:12] + b"ds64" + struct.pack("<I", len(sizes)) + sizes + plain[12:]
    pcm, warnings = decode(data)
    assert np.array_equal(pcm, PCM) and len(warnings) == (claim_bytes != PCM.nbytes)


@pytest.mark.parametrize("claims", [(None, None), (0xFFFF_FFFF, None), (None, 0), (96_044, None)])
def test_wavs_that_were_joined_are_read_one_behind_the_other(claims: tuple[int | None, int | None]) -> None:
    first, second = (wav(PCM.tobytes(), claim_bytes=claim) for claim in claims)
    pcm, _ = decode(first + second)
    assert np.array_equal(pcm, np.concatenate([PCM, PCM]))


def test_joined_wavs_of_unlike_rates_and_channels_have_the_right_length_and_say_what_the_first_claimed() -> None:
    pcm, warnings = decode(wav(PCM.tobytes()) + wav(bytes(4 * 44_100), rate_hz=44_100, channels=2))
    assert len(pcm) == 4 * 16_000
    assert warnings == [
        "wrong_length: the header claims 96000 bytes of audio (3.000 s); "
        "the file holds 272400 (4.000 s) in 2 recordings, one behind the other. All was read."
    ]
