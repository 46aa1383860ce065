"""Several recordings in one file, end to end."""

from __future__ import annotations

import io

import numpy as np
import pytest

from milo.audio.parts import MAX_PARTS, find_parts
from milo.audio.reading import stream
from milo.audio.sandbox import DecoderProcess
from tests.support.audio_factory import media, onset_s, tone_at, wav

FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
LIVE = {"live": "1"}


def made(
    container: str, codec: str, rate_hz: int, layout: str = "mono", options: dict[str, str] | None = None
) -> bytes:
    return media(container, codec, tone_at(1.0, 2.0, rate_hz), rate_hz, layout=layout, options=options)


@pytest.mark.parametrize(
    ("container", "codec", "options"),
    [
        ("ogg", "flac", None),
        ("flac", "flac", None),
        ("mp4", "aac", None),
        ("mp4", "aac", FRAGMENTS),
        ("matroska", "pcm_s16le", None),
        ("matroska", "aac", LIVE),
    ],
    ids=["ogg", "flac", "mp4", "fragmented mp4", "matroska", "live matroska"],
)
@pytest.mark.parametrize("second", [(44_100, "mono"), (22_050, "mono"), (44_100, "stereo")])
def test_each_part_is_read_at_its_own_rate_and_channels(
    container: str, codec: str, options: dict[str, str] | None, second: tuple[int, str]
) -> None:
    first = made(container, codec, 44_100, options=options)
    audio = stream(io.BytesIO(first + made(container, codec, *second, options=options) + first), max_s=60)
    pcm = np.concatenate(list(audio))
    assert len(pcm) / 16_000 == pytest.approx(6.0, abs=0.2)
    for number in range(3):
        assert onset_s(pcm[(2 * number) * 16_000 :]) == pytest.approx(1.0, abs=0.2)
    assert "truncated" not in audio.warnings and audio.faults.skipped_frames == 0


def test_a_chain_of_opus_whose_channels_change_is_read_whole() -> None:
    parts = [made("ogg", "libopus", 48_000, layout) for layout in ("mono", "stereo", "mono")]
    audio = stream(io.BytesIO(b"".join(parts)), max_s=60)
    assert sum(map(len, audio)) == pytest.approx(6 * 16_000, abs=32) and audio.warnings == []


def test_a_second_head_behind_fragments_begins_a_part() -> None:
    first, second = (made("mp4", "aac", rate_hz, options=FRAGMENTS) for rate_hz in (44_100, 22_050))
    without_ftyp = second[int.from_bytes(second[:4], "big") :]
    assert without_ftyp[4:8] == b"moov"
    pcm = np.concatenate(list(stream(io.BytesIO(first + without_ftyp), max_s=60)))
    assert len(pcm) / 16_000 == pytest.approx(4.0, abs=0.15)


def test_a_part_that_is_no_audio_does_not_harm_the_ones_before_it() -> None:
    audio = stream(io.BytesIO(made("flac", "flac", 44_100) + b"fLaC\0\0\0\x22" + bytes(500)), max_s=60)
    assert sum(map(len, audio)) == 32_000
    assert "truncated" in audio.warnings


def test_the_decoder_apart_reads_all_parts_too() -> None:
    data = wav(bytes(32_000)) + wav(bytes(88_200), rate_hz=44_100)
    apart = DecoderProcess(512 * 2**20, 30)
    try:
        audio = apart.stream(io.BytesIO(data), max_s=60)
        assert sum(map(len, audio)) == 32_000
        assert len(audio.warnings) == 1 and audio.warnings[0].startswith("wrong_length: ")
    finally:
        apart.close()


def test_the_limit_counts_all_parts() -> None:
    from milo.errors import TooLarge

    with pytest.raises(TooLarge):
        list(stream(io.BytesIO(made("flac", "flac", 44_100) * 3), max_s=5.0))


def test_a_file_object_is_read_from_where_it_stands_and_left_there_by_the_look_at_its_parts() -> None:
    file = io.BytesIO(b"form" + made("flac", "flac", 44_100) * 2)
    file.seek(4)
    assert [part.start for part in find_parts(file)] == [4, 4 + (len(file.getvalue()) - 4) // 2]
    assert file.tell() == 4


def test_of_more_parts_than_anybody_joins_the_last_is_the_rest() -> None:
    empty = wav(b"\0\0", claim_bytes=2)
    parts = find_parts(io.BytesIO(empty * (MAX_PARTS + 5)))
    assert len(parts) == MAX_PARTS and parts[-1].end - parts[-1].start > len(empty)
