from __future__ import annotations

import io
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from av.stream import Disposition

from milo.audio.reading import AudioStream, probe, stream
from milo.errors import BadMedia, MiloError, TooLarge
from tests.support.audio_factory import EndlessWav, media, onset_s, say, tone_at, wav

_ROOT = Path(__file__).parents[3]
NO_LIMIT_S = 1e6

# container, codec, rate, delay that the container can't express (priming samples), in seconds
FORMATS = [
    ("wav", "pcm_u8", 11025, 0.0),
    ("wav", "pcm_s16le", 16000, 0.0),
    ("wav", "pcm_s24le", 44100, 0.0),
    ("wav", "pcm_s32le", 96000, 0.0),
    ("wav", "pcm_s64le", 48000, 0.0),
    ("wav", "pcm_f32le", 8000, 0.0),
    ("wav", "pcm_f64le", 22050, 0.0),
    ("wav", "pcm_mulaw", 8000, 0.0),
    ("w64", "pcm_s16le", 44100, 0.0),
    ("aiff", "pcm_s16be", 22050, 0.0),
    ("caf", "pcm_s16le", 32000, 0.0),
    ("flac", "flac", 44100, 0.0),
    ("flac", "flac", 192000, 0.0),
    ("mp3", "libmp3lame", 44100, 0.0),
    ("mp3", "libmp3lame", 16000, 0.0),
    ("ogg", "libopus", 48000, 0.0),
    ("ogg", "flac", 44100, 0.0),
    ("ipod", "aac", 44100, 0.0),
    ("mp4", "aac", 48000, 0.0),
    ("mov", "pcm_s16le", 44100, 0.0),
    ("mov", "alac", 44100, 0.0),
    ("webm", "libopus", 48000, 0.0),
    ("matroska", "aac", 44100, 0.0),
    ("matroska", "pcm_s16le", 44100, 0.0),
    ("adts", "aac", 44100, 1024 / 44100),
    ("mpegts", "aac", 48000, 1024 / 48000),
    ("avi", "libmp3lame", 44100, 1105 / 44100),
    ("flv", "libmp3lame", 44100, 1105 / 44100),
    ("amr", "libopencore_amrnb", 8000, 0.019),
]


def decode(data: bytes, **options: Any) -> tuple[np.ndarray, AudioStream]:
    audio = stream(io.BytesIO(data), **{"max_s": NO_LIMIT_S, **options})
    return np.concatenate(list(audio)), audio


def refusal(data: bytes, **options: Any) -> MiloError:
    with pytest.raises(MiloError) as caught:
        decode(data, **options)
    return caught.value


@pytest.mark.parametrize(("container", "codec", "rate_hz", "delay_s"), FORMATS)
def test_a_tone_is_where_it_was_in_every_format(container: str, codec: str, rate_hz: int, delay_s: float) -> None:
    pcm, audio = decode(media(container, codec, tone_at(1.0, 3.0, rate_hz), rate_hz))
    assert onset_s(pcm) == pytest.approx(1.0 + delay_s, abs=0.002)
    assert len(pcm) / 16000 == pytest.approx(3.0, abs=0.05)
    assert audio.warnings == []
    assert audio.info is not None and audio.info.sample_rate_hz == rate_hz


def test_ogg_vorbis_is_read() -> None:
    file = io.BytesIO()
    soundfile.write(file, tone_at(1.0, 3.0, 44100), 44100, format="OGG", subtype="VORBIS")
    pcm, audio = decode(file.getvalue())
    assert (onset_s(pcm), len(pcm)) == (pytest.approx(1.0, abs=0.02), pytest.approx(48000, abs=64))
    assert audio.info is not None and audio.info.codec == "vorbis"


@pytest.mark.parametrize("container", ["mp4", "matroska", "webm", "mpegts"])
@pytest.mark.parametrize("late_s", [0.5, 2.0])
def test_sound_that_starts_late_in_a_film_stays_late(container: str, late_s: float) -> None:
    codec = "libopus" if container == "webm" else "aac"
    data = media(container, codec, tone_at(1.0, 3.0, 48000), 48000, film=True, start_s=late_s)
    pcm, audio = decode(data)
    assert onset_s(pcm) == pytest.approx(1.0 + late_s, abs=0.002)
    assert audio.warnings == ["filled_gaps"]


@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_sound_alone_that_starts_late_stays_late(container: str) -> None:
    pcm, _ = decode(media(container, "aac", tone_at(1.0, 3.0, 48000), 48000, start_s=0.5))
    assert onset_s(pcm) == pytest.approx(1.5, abs=0.002)


def test_a_piece_cut_from_a_long_broadcast_starts_at_its_own_start() -> None:
    pcm, audio = decode(media("matroska", "aac", tone_at(1.0, 3.0, 48000), 48000, start_s=5000.0))
    assert onset_s(pcm) == pytest.approx(1.0, abs=0.002)
    assert audio.warnings == []


@pytest.mark.parametrize(("container", "codec"), [("webm", "libopus"), ("ogg", "libopus"), ("mp4", "aac")])
@pytest.mark.parametrize("until_s", [1.03, 1.5])
def test_lost_packets_become_silence_of_their_length(container: str, codec: str, until_s: float) -> None:
    data = media(container, codec, tone_at(2.0, 3.0, 48000), 48000, lose=(1.0, until_s))
    pcm, audio = decode(data)
    assert onset_s(pcm) == pytest.approx(2.0, abs=0.002)
    assert audio.warnings == ["filled_gaps"]


def test_broken_frames_are_counted_and_time_goes_on() -> None:
    data = bytearray(media("mp4", "aac", tone_at(3.0, 4.0, 48000), 48000))
    start = data.index(b"mdat") + 4
    data[start + 300 : start + 330] = random.Random(1).randbytes(30)
    pcm, audio = decode(bytes(data))
    assert onset_s(pcm) == pytest.approx(3.0, abs=0.002)
    assert audio.faults.skipped_frames > 0
    assert "skipped_frames" in audio.warnings


def test_chained_ogg_streams_follow_each_other() -> None:
    first = media("ogg", "libopus", tone_at(1.0, 2.0, 48000), 48000)
    second = media("ogg", "libopus", tone_at(0.5, 2.0, 48000), 48000)
    pcm, _ = decode(first + second)
    assert len(pcm) / 16000 == pytest.approx(4.0, abs=0.02)
    assert onset_s(pcm[24000:]) == pytest.approx(1.0, abs=0.02)


def test_the_tone_behind_a_rate_change_is_on_time() -> None:
    first = media("adts", "aac", tone_at(1.0, 2.0, 48000), 48000)
    second = media("adts", "aac", tone_at(1.0, 2.0, 24000), 24000)
    pcm, _ = decode(first + second)
    assert onset_s(pcm[24000:]) + 1.5 == pytest.approx(2.0 + 1.0, abs=0.15)


@pytest.mark.parametrize("layout", ["stereo", "5.1"])
def test_channels_are_mixed_without_clipping(layout: str) -> None:
    pcm, _ = decode(media("wav", "pcm_s16le", tone_at(0.5, 1.0, 16000), 16000, layout=layout))
    assert np.abs(pcm.astype(np.int32)).max() == pytest.approx(0.5 * 32768, rel=0.01)


def test_speech_in_one_of_24_channels_is_heard() -> None:
    channels = np.zeros((16000, 24), "<i2")
    channels[8000:, 7] = 30000
    pcm, _ = decode(wav(channels.tobytes(), channels=24))
    assert len(pcm) == 16000
    assert (pcm[8000:] > 1000).all() and (pcm[:8000] == 0).all()


@pytest.mark.parametrize("rate_hz", [16000, 44100])
def test_a_microphone_wired_in_opposite_phase_is_heard(rate_hz: int) -> None:
    tone = (tone_at(0.1, 1.0, rate_hz, 0.8) * 32767).astype("<i2")
    pcm, _ = decode(wav(np.stack([tone, -tone], axis=1).tobytes(), rate_hz=rate_hz, channels=2))
    assert np.abs(pcm.astype(np.int32)).max() > 16000


def test_16_khz_mono_pcm_passes_unchanged() -> None:
    original = np.random.default_rng(0).integers(-32768, 32768, 50_000, dtype=np.int16)
    pcm, _ = decode(wav(original.tobytes()))
    assert (pcm == original).all()


def test_non_finite_samples_become_zero_and_loud_ones_saturate() -> None:
    samples = np.array([np.nan, np.inf, -np.inf, 7.0, -1e30, 0.25, 0.0] * 100, "<f4")
    pcm, _ = decode(wav(samples.tobytes(), bits=32, tag=3))
    assert pcm[:7].tolist() == [0, 0, 0, 32767, -32768, 8192, 0]


@pytest.mark.parametrize("rate_hz", [8000, 11025, 22050, 44100, 48000, 96000])
def test_length_is_exact_at_every_rate(rate_hz: int) -> None:
    samples = rate_hz * 3 + 17
    pcm, _ = decode(wav(bytes(2 * samples), rate_hz=rate_hz))
    assert len(pcm) == round(samples * 16000 / rate_hz)


def test_blocks_are_of_the_asked_size() -> None:
    sizes = [len(block) for block in stream(io.BytesIO(wav(bytes(2 * 40_000))), max_s=10, block_s=1.0)]
    assert sizes == [16000, 16000, 8000]


def test_a_path_and_a_file_that_can_not_seek_are_read_alike(tmp_path: Path) -> None:
    data = media("mp3", "libmp3lame", tone_at(1.0, 2.0, 44100), 44100)
    path = tmp_path / "clip.dat"
    path.write_bytes(data)

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: Any) -> int:
            raise io.UnsupportedOperation("seek")

    from_path = np.concatenate(list(stream(path, max_s=10)))
    from_pipe = np.concatenate(list(stream(Pipe(data), max_s=10)))
    assert (from_path == from_pipe[: len(from_path)]).all()


def test_a_file_object_is_read_from_where_it_stands() -> None:
    file = io.BytesIO(b"form field\r\n\r\n" + media("mp4", "aac", tone_at(1.0, 2.0, 44100), 44100))
    file.seek(14)
    assert onset_s(np.concatenate(list(stream(file, max_s=10)))) == pytest.approx(1.0, abs=0.002)


def test_an_error_of_the_storage_is_not_taken_for_bad_audio() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 40_000:
                raise ConnectionResetError("the storage went away")
            return super().read(size)

    with pytest.raises(ConnectionResetError):
        list(stream(Failing(wav(bytes(200_000))), max_s=60))


@pytest.mark.parametrize("share", [0.3, 0.5, 0.75, 0.97])
@pytest.mark.parametrize("options", [{}, {"write_xing": "0"}])
def test_a_truncated_mp3_gives_what_is_there_and_a_warning(share: float, options: dict[str, str]) -> None:
    data = media("mp3", "libmp3lame", tone_at(1.0, 10.0, 44100), 44100, options=options)
    pcm, audio = decode(data[: int(len(data) * share)])
    assert len(pcm) / 16000 == pytest.approx(10.0 * share, abs=0.2)
    assert "truncated" in audio.warnings


@pytest.mark.parametrize(
    ("container", "codec"),
    [("wav", "pcm_s16le"), ("flac", "flac"), ("ogg", "libopus"), ("webm", "libopus"), ("matroska", "aac")],
)
def test_a_truncated_file_gives_what_is_there_and_a_warning(container: str, codec: str) -> None:
    noise = np.random.default_rng(0).standard_normal(48000 * 8).astype(np.float32) * 0.1
    data = media(container, codec, noise, 48000)
    pcm, audio = decode(data[: len(data) * 2 // 3])
    assert 2.0 < len(pcm) / 16000 < 7.0
    assert "truncated" in audio.warnings


def test_a_fragmented_mp4_that_was_cut_off_is_read() -> None:
    data = media("mp4", "aac", tone_at(1.0, 8.0, 48000), 48000, options={"movflags": "frag_keyframe+empty_moov"})
    pcm, _ = decode(data[: len(data) * 3 // 4])
    assert onset_s(pcm) == pytest.approx(1.0, abs=0.03)


# --- limits ---


def test_a_recording_over_the_limit_is_refused_by_its_header_at_once() -> None:
    error = refusal(wav(bytes(2 * 16000 * 20)), max_s=10.0)
    assert isinstance(error, TooLarge)
    assert (error.code, error.status) == ("audio_too_long", 413)
    assert "20 s" in error.detail and "10 s" in error.detail


def test_a_recording_over_the_limit_without_a_length_in_its_header_stops_at_the_limit() -> None:
    taken: list[int] = []
    audio = stream(EndlessWav(3600, np.zeros(1000, np.int16), claim_bytes=0), max_s=30.0, block_s=5.0)
    with pytest.raises(TooLarge):
        taken.extend(len(block) for block in audio)
    assert sum(taken) <= 31 * 16000


def test_a_recording_as_long_as_the_limit_passes() -> None:
    pcm, _ = decode(media("mp3", "libmp3lame", tone_at(1.0, 10.0, 44100), 44100), max_s=10.0)
    assert len(pcm) == 160_000


@pytest.mark.parametrize("claim_bytes", [3_000_000_000, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0])
def test_a_header_that_lies_about_the_size_gives_what_is_there(claim_bytes: int) -> None:
    pcm, audio = decode(wav(bytes(1000), claim_bytes=claim_bytes), max_s=60.0)
    assert len(pcm) == 500
    assert ("truncated" in audio.warnings) == (claim_bytes == 3_000_000_000)


def test_a_flac_header_that_claims_hours_gives_what_is_there() -> None:
    data = bytearray(media("flac", "flac", tone_at(1.0, 2.0, 44100), 44100))
    data[21] |= 0x0F
    data[22:26] = b"\xff\xff\xff\xff"
    pcm, audio = decode(bytes(data), max_s=60.0)
    assert len(pcm) == 32_000
    assert audio.warnings == ["truncated"]


@pytest.mark.parametrize(
    "data",
    [
        wav(rate_hz=10_000_000),
        wav(rate_hz=3),
        wav(channels=100),
        wav(channels=65535),
        wav(channels=0),
    ],
)
def test_absurd_shapes_are_refused(data: bytes) -> None:
    assert refusal(data).code in ("unsupported_audio", "corrupt_audio")


# --- memory ---

_HOUR = """
import resource, sys
import av
import numpy as np
from milo.audio.reading import stream
from tests.support.audio_factory import EndlessWav
rss_mb = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
noise = np.random.default_rng(0).integers(-3000, 3000, 50_000, dtype=np.int16)
list(stream(EndlessWav(60, noise), max_s=1e6))
before = rss_mb()
samples = sum(len(block) for block in stream(EndlessWav(3600, noise), max_s=1e6))
assert samples == 3600 * 16000, samples
print(rss_mb() - before)
"""


def test_an_hour_takes_no_more_memory_than_a_minute() -> None:
    done = subprocess.run([sys.executable, "-c", _HOUR], cwd=_ROOT, stdout=subprocess.PIPE, text=True, check=True)
    assert float(done.stdout) < 20  # MB; an hour of int16 is 115


def test_the_pauses_that_a_telephone_did_not_send_are_silence_and_no_fault() -> None:
    data = media("amr", "libopencore_amrnb", tone_at(1.0, 2.0, 8000), 8000)
    head, frame_bytes = b"#!AMR\n", 13  # 4.75 kbit/s
    frames = [data[at : at + frame_bytes] for at in range(len(head), len(data), frame_bytes)]
    assert {frame[0] for frame in frames} == {0x04}
    nothing, comfort_noise = b"\x7c", b"\x44" + bytes(5)
    pcm, audio = decode(head + b"".join([*frames[:5], comfort_noise, *[nothing] * 39, *frames[45:70], *[nothing] * 30]))
    assert onset_s(pcm) == pytest.approx(1.0, abs=0.03)
    assert len(pcm) == 100 * 320 and audio.warnings == []


# --- probing ---


def test_probe_tells_what_the_header_says() -> None:
    info = probe(io.BytesIO(media("webm", "libopus", tone_at(1.0, 2.0, 48000), 48000, layout="stereo", film=True)))
    assert (info.container, info.codec, info.sample_rate_hz, info.channels) == ("matroska", "opus", 48000, 2)
    assert info.duration_s == pytest.approx(2.0, abs=0.1)


def two_tracks(default: int | None) -> bytes:
    """A matroska file with a tone at 1 s in its first track and at 2 s in its second."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as out:
        streams = [out.add_stream("pcm_s16le", rate=16000, layout="mono") for _ in range(2)]
        for number, stream_out in enumerate(streams):
            stream_out.disposition = Disposition.default if number == default else Disposition(0)
        for number, stream_out in enumerate(streams):
            pcm = (tone_at(1.0 + number, 3.0, 16000) * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts = 16000, 0
            out.mux([*stream_out.encode(frame), *stream_out.encode(None)])
    return file.getvalue()


@pytest.mark.parametrize(
    ("default", "track", "onset"),
    [(None, None, 1.0), (0, None, 1.0), (1, None, 2.0), (1, 0, 1.0), (0, 1, 2.0)],
)
def test_of_several_tracks_the_one_is_heard_that_was_chosen_or_that_is_the_default_of_the_file(
    default: int | None, track: int | None, onset: float
) -> None:
    pcm, _ = decode(two_tracks(default), track=track)
    assert onset_s(pcm) == pytest.approx(onset, abs=0.005)


def test_a_track_that_is_not_there_is_refused() -> None:
    error = refusal(two_tracks(None), track=2)
    assert isinstance(error, BadMedia) and error.code == "no_audio_track"


def test_closing_early_closes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    path.write_bytes(wav(bytes(2 * 16000 * 10)))
    audio = stream(path, max_s=60, block_s=1.0)
    next(audio)
    audio.close()
    with pytest.raises(StopIteration):
        next(audio)


def test_real_speech_survives_the_trip_through_mp3() -> None:
    speech = say("The quick brown fox jumps over the lazy dog.")
    pcm, _ = decode(media("mp3", "libmp3lame", speech.astype(np.float32) / 32768, 16000))
    count = min(len(pcm), len(speech))
    assert np.corrcoef(pcm[:count], speech[:count])[0, 1] > 0.98


def _mutants(count: int) -> Iterator[bytes]:
    rng = random.Random(7)
    seeds = [
        media(container, codec, tone_at(0.5, 1.0, 48000), 48000)
        for container, codec in [("wav", "pcm_s16le"), ("mp3", "libmp3lame"), ("mp4", "aac"), ("ogg", "libopus")]
    ] + [media("webm", "libopus", tone_at(0.5, 1.0, 48000), 48000, film=True)]
    for _ in range(count):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.choice((1, 4, 30))):
            data[rng.randrange(rng.choice((100, len(data))))] = rng.randrange(256)
        yield bytes(data[: rng.choice((len(data), rng.randrange(1, len(data))))])


def test_mutated_files_give_audio_or_a_clear_error_and_nothing_else() -> None:
    for data in _mutants(150):
        try:
            decode(data, max_s=60.0)
        except MiloError as error:
            assert error.status in (413, 415) and error.detail
