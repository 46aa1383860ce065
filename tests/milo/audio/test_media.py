from __future__ import annotations

import io
import os
import random
import struct
from pathlib import Path
from typing import Any

import pytest

from milo.audio.media import open_media
from milo.errors import BadMedia, NotFound
from tests.support.audio_factory import media, silent_film, tone_at, wav

EXTENSIONS = ["wav", "flac", "mp3", "ogg", "opus", "m4a", "aac", "webm", "mp4", "mkv"]
REFERENCES = {
    "hls": b"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:10.0,\n{target}\n#EXT-X-ENDLIST\n",
    "hls concat": b"#EXTM3U\n#EXTINF:10.0,\nconcat:{target}|file:///etc/passwd\n#EXT-X-ENDLIST\n",
    "m3u": b"#EXTM3U\n{target}\n",
    "concat script": b"ffconcat version 1.0\nfile '{target}'\n",
    "concatf": b"{target}\n",
    "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 96\n",
    "dash": b"<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'><Period><AdaptationSet><Representation>"
    b"<BaseURL>file://{target}</BaseURL></Representation></AdaptationSet></Period></MPD>",
    "smil": b"<smil><body><audio src='{target}'/></body></smil>",
    "image sequence": b"{target}%03d.jpg\n",
}


def code_of(data: bytes | Path, **options: Any) -> str:
    source = data if isinstance(data, Path) else io.BytesIO(data)
    with pytest.raises(BadMedia) as caught, open_media(source, **options) as opened:
        pytest.fail(f"opened as {opened.info}")
    assert caught.value.detail.endswith((".", "?"))
    return caught.value.code


def test_an_empty_file() -> None:
    assert code_of(b"") == "empty_audio"


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_text_and_random_bytes_are_not_audio_whatever_their_name(extension: str, tmp_path: Path) -> None:
    path = tmp_path / f"name.{extension}"
    path.write_text("This is a text file, and no recording at all.\n" * 40)
    assert code_of(path) == "not_audio"
    path.write_bytes(random.Random(extension).randbytes(20_000))
    assert code_of(path) == "not_audio"


def test_a_picture_is_not_audio() -> None:
    jpeg = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffdb0043") + bytes(range(64)) * 20
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 1, 1, 8, 2, 0, 0, 0) + bytes(200)
    assert code_of(jpeg) == "not_audio"
    assert code_of(png) == "not_audio"


def test_an_mp3_of_tags_alone_has_no_samples() -> None:
    assert code_of(b"ID3\x04\x00\x00\x00\x00\x0f\x76" + bytes(0x7F6)) == "no_samples"


def test_a_film_without_sound_has_no_audio_track() -> None:
    assert code_of(silent_film()) == "no_audio_track"


@pytest.mark.parametrize("track", [1, 99, -1])
def test_a_track_that_is_not_there(track: int) -> None:
    assert code_of(wav(), track=track) == "no_audio_track"


def test_an_mp4_cut_before_its_index_is_corrupt_and_says_so() -> None:
    data = media("mp4", "aac", tone_at(1.0, 5.0, 48000), 48000)
    assert code_of(data[: len(data) // 2]) == "corrupt_audio"


def test_an_mp4_with_its_index_at_the_end_opens_from_a_file_object() -> None:
    data = media("mp4", "aac", tone_at(1.0, 2.0, 48000), 48000)
    assert data.index(b"mdat") < data.index(b"moov")
    with open_media(io.BytesIO(data)) as opened:
        assert opened.info.codec == "aac"


@pytest.mark.parametrize("kind", REFERENCES)
def test_a_file_that_refers_to_another_is_not_followed(kind: str, tmp_path: Path) -> None:
    target = tmp_path / "secret.wav"
    target.write_bytes(wav(bytes(32_000)))
    for suffix in ("wav", "m3u8", "mp3", "ffconcat"):
        path = tmp_path / f"upload.{suffix}"
        path.write_bytes(REFERENCES[kind].replace(b"{target}", os.fsencode(target)))
        assert code_of(path) == "not_audio"


def test_a_playlist_inside_the_subtitles_of_an_avi_is_not_followed(tmp_path: Path) -> None:
    # https://www.blackhat.com/docs/us-16/materials/us-16-Ermishkin-Viral-Video-Exploiting-Ssrf-In-Video-Converters.pdf
    playlist = b"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:1.0\n/etc/passwd\n#EXT-X-ENDLIST\n"
    gab2 = b"GAB2\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00" + struct.pack("<HI", 4, len(playlist)) + playlist
    header = struct.pack("<4s4sIHHIIIIIIII8x", b"txts", bytes(4), 0, 0, 0, 0, 1, 1, 0, 1, 0, 0, 0)
    streams = b"LIST" + struct.pack("<I", 4 + 8 + len(header) + 8) + b"strl"
    streams += b"strh" + struct.pack("<I", len(header)) + header + b"strf" + struct.pack("<I", 0)
    main = b"avih" + struct.pack("<I", 56) + struct.pack("<14I", 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0)
    lists = b"LIST" + struct.pack("<I", 4 + len(main) + len(streams)) + b"hdrl" + main + streams
    movie = b"LIST" + struct.pack("<I", 4 + 8 + len(gab2)) + b"movi" + b"00tx" + struct.pack("<I", len(gab2)) + gab2
    avi = b"RIFF" + struct.pack("<I", 4 + len(lists) + len(movie)) + b"AVI " + lists + movie
    assert code_of(avi) in ("no_audio_track", "corrupt_audio", "external_reference", "not_audio")


def test_a_quicktime_reference_to_another_file_is_not_followed(tmp_path: Path) -> None:
    data = bytearray(media("mov", "pcm_s16le", tone_at(0.1, 1.0, 16000), 16000))
    at = data.index(b"url ")
    data[at : at + 8] = b"alis" + struct.pack(">I", 0)  # no longer "the data is in this file"
    with open_media(io.BytesIO(bytes(data))) as opened:
        sizes = [packet.size for packet in opened.container.demux(opened.stream)]
    assert sum(sizes) <= len(data)


def test_a_path_that_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "missing.wav", tmp_path / "pipe"):
        with pytest.raises(NotFound), open_media(path):
            pass


def test_the_length_in_the_first_of_several_joined_mp3_files_is_not_that_of_the_whole() -> None:
    data = media("mp3", "libmp3lame", tone_at(1.0, 3.0, 44100), 44100)
    claims = []
    for content in (data, data[: len(data) // 2], data + bytes(128), data + data):
        with open_media(io.BytesIO(content)) as opened:
            claims.append(opened.claim_s)
    assert claims[:3] == [pytest.approx(3.0, abs=0.1)] * 3
    assert claims[3] is None, "so that nobody says it was cut off"
