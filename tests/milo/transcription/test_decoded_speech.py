from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from milo.audio.reading import encode, stream
from milo.audio.vad import VadOptions
from milo.errors import BadMedia, NotFound
from milo.transcription.decoded_speech import DecodedSpeech, decode_speech, plan_windows
from tests.support.audio_factory import RATE_HZ, EndlessWav, media, room, say, silence, wav

PHRASE = "Good morning, how are you today? I would like to buy two kilograms of rice."
_ROOT = Path(__file__).parents[3]


def recording() -> np.ndarray:
    """Speech at 5 s and at 75 s of about 84 s."""
    parts = [silence(5), say(PHRASE), room(4), silence(66 - len(say(PHRASE)) / RATE_HZ), say(PHRASE), room(5)]
    return np.concatenate(parts)


def as_wav(pcm: np.ndarray) -> io.BytesIO:
    return io.BytesIO(wav(pcm.astype("<i2").tobytes()))


def decoded(pcm: np.ndarray, folder: Path, options: VadOptions | None = None) -> DecodedSpeech:
    for _ in decode_speech(as_wav(pcm), folder, max_s=1e6, options=options):
        pass
    return DecodedSpeech.load(folder)


def test_speech_is_kept_exactly_and_long_silence_is_not(tmp_path: Path) -> None:
    pcm = recording()
    speech = decoded(pcm, tmp_path)
    assert speech.duration_s == len(pcm) / RATE_HZ
    assert [start for start, _ in speech.spans] == [pytest.approx(4.8, abs=0.1), pytest.approx(74.8, abs=0.1)]
    for start_s, end_s in speech.spans:
        first, behind = round(start_s * RATE_HZ), round(end_s * RATE_HZ)
        assert (speech.samples(start_s, end_s) == pcm[first:behind].astype(np.float32) / 32768).all()
    assert speech.speech_s == pytest.approx(sum(end - start for start, end in speech.spans))
    assert (tmp_path / "speech.pcm").stat().st_size < 0.3 * 2 * len(pcm)
    assert len(speech.frame_probabilities) == -(-len(pcm) // 512)


def test_what_was_not_kept_reads_as_silence(tmp_path: Path) -> None:
    speech = decoded(recording(), tmp_path)
    samples = speech.samples(0, speech.duration_s)
    assert len(samples) == speech.samples_n
    assert not samples[40 * RATE_HZ : 60 * RATE_HZ].any()
    assert len(speech.samples(speech.duration_s - 1, speech.duration_s + 9)) == RATE_HZ
    assert len(speech.samples(5, 5)) == 0


@pytest.mark.parametrize("step_s", [0.5, 7.3, 30.0])
def test_the_step_does_not_change_the_result(tmp_path: Path, step_s: float) -> None:
    pcm = recording()
    expected = decoded(pcm, tmp_path / "a")
    steps = list(decode_speech(as_wav(pcm), tmp_path / "b", max_s=1e6, step_s=step_s))
    got = DecodedSpeech.load(tmp_path / "b")
    assert got.spans == expected.spans
    assert (got.samples(0, got.duration_s) == expected.samples(0, got.duration_s)).all()
    assert steps == sorted(steps) and steps[-1] == got.duration_s
    assert max(np.diff([0, *steps])) <= step_s + 1e-6


def test_every_span_is_kept_whole_even_with_long_pauses_inside(tmp_path: Path) -> None:
    pcm = np.concatenate([silence(3), say(PHRASE), room(3.5), say(PHRASE), silence(20)])
    speech = decoded(pcm, tmp_path, VadOptions(min_silence_s=4.0, pad_s=0.5))
    ((start_s, end_s),) = speech.spans
    first, behind = round(start_s * RATE_HZ), round(end_s * RATE_HZ)
    assert (speech.samples(start_s, end_s) == pcm[first:behind].astype(np.float32) / 32768).all()


def test_silence_gives_no_spans_and_no_windows(tmp_path: Path) -> None:
    speech = decoded(silence(20), tmp_path)
    assert (speech.spans, speech.speech_s, speech.duration_s) == ([], 0, 20)
    assert plan_windows(speech, pack_window_s=30, max_window_s=30) == []
    assert (tmp_path / "speech.pcm").stat().st_size == 0


def test_a_very_short_recording(tmp_path: Path) -> None:
    assert decoded(np.ones(1, np.int16), tmp_path).duration_s == 1 / RATE_HZ


def test_the_record_tells_where_the_sound_came_from(tmp_path: Path) -> None:
    source = tmp_path / "in.m4a"
    source.write_bytes(media("ipod", "aac", say(PHRASE).astype(np.float32) / 32768, RATE_HZ, layout="stereo"))
    for _ in decode_speech(source, tmp_path / "out", max_s=60):
        pass
    about = DecodedSpeech.load(tmp_path / "out").source
    assert (about["container"], about["codec"], about["channels"]) == ("mov", "aac", 2)
    assert about["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert about["faults"]["skipped_frames"] == 0


def test_a_truncated_file_is_decoded_with_a_warning(tmp_path: Path) -> None:
    data = encode(np.tile(say(PHRASE), 4).astype(np.float32) / 32768, RATE_HZ, "mp3")
    for _ in decode_speech(io.BytesIO(data[: len(data) // 2]), tmp_path, max_s=60):
        pass
    speech = DecodedSpeech.load(tmp_path)
    assert speech.warnings == ["truncated"]
    assert speech.spans


@pytest.mark.parametrize("format", ["flac", "mp3", "ogg"])
def test_spans_do_not_depend_on_the_format(tmp_path: Path, format: str) -> None:
    pcm = recording()
    expected = decoded(pcm, tmp_path / "wav").spans
    data = encode(pcm.astype(np.float32) / 32768, RATE_HZ, format)
    for _ in decode_speech(io.BytesIO(data), tmp_path / format, max_s=1e6):
        pass
    got = DecodedSpeech.load(tmp_path / format).spans
    np.testing.assert_allclose(np.array(got), np.array(expected), atol=0.1)


# --- what is left behind ---


def test_stopping_half_way_leaves_nothing_behind(tmp_path: Path) -> None:
    work = decode_speech(as_wav(recording()), tmp_path, max_s=1e6, step_s=5)
    next(work)  # type: ignore[call-overload]
    work.close()  # type: ignore[attr-defined]
    assert list(tmp_path.iterdir()) == []


def test_bad_audio_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(BadMedia):
        list(decode_speech(io.BytesIO(b"no audio at all"), tmp_path, max_s=60))
    assert list(tmp_path.iterdir()) == []


def test_decoding_again_replaces_what_was_there(tmp_path: Path) -> None:
    decoded(recording(), tmp_path)
    assert decoded(silence(5), tmp_path).spans == []
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "speech.gain",
        "speech.json",
        "speech.pcm",
        "speech.prob",
    ]


def test_a_folder_that_is_not_complete_is_not_loaded(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        DecodedSpeech.load(tmp_path)
    assert caught.value.code == "not_decoded"
    decoded(recording(), tmp_path)
    (tmp_path / "speech.pcm").write_bytes(b"\0\0")
    with pytest.raises(NotFound):
        DecodedSpeech.load(tmp_path)


def test_a_map_that_is_damaged_is_not_loaded(tmp_path: Path) -> None:
    decoded(recording(), tmp_path)
    for damaged in ("", "{", "[]", json.dumps({"version": 1}), json.dumps({"version": 99})):
        (tmp_path / "speech.json").write_text(damaged)
        with pytest.raises(NotFound):
            DecodedSpeech.load(tmp_path)


_LONG = """
import resource, tempfile
from pathlib import Path
import numpy as np
from milo.transcription.decoded_speech import decode_speech
from tests.support.audio_factory import EndlessWav, say, silence
rss_mb = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
pattern = np.concatenate([say("one, two, three"), silence(40)])
with tempfile.TemporaryDirectory() as folder:
    list(decode_speech(EndlessWav(60, pattern), Path(folder), max_s=1e6))
    before = rss_mb()
    list(decode_speech(EndlessWav(1200, pattern), Path(folder), max_s=1e6))
    print(rss_mb() - before)
"""


def test_a_long_recording_takes_no_more_memory_than_a_minute() -> None:
    done = subprocess.run([sys.executable, "-c", _LONG], cwd=_ROOT, stdout=subprocess.PIPE, text=True, check=True)
    assert float(done.stdout) < 18  # MB; twenty minutes of int16 are 38


def test_the_made_up_long_wav_is_a_true_one() -> None:
    pattern = np.arange(1000, dtype=np.int16)
    pcm = np.concatenate(list(stream(EndlessWav(3.0, pattern), max_s=10)))
    assert (pcm == np.tile(pattern, 48)).all()


def test_quiet_speech_is_kept_as_loud_as_the_loud_one_beside_it(tmp_path: Path) -> None:
    spoken = say(PHRASE)
    call = np.concatenate([silence(1), spoken, silence(1.5), np.rint(spoken / 60).astype(np.int16), silence(1)])
    speech = decoded(call, tmp_path)
    second_s = 2.5 + len(spoken) / RATE_HZ
    loud = speech.samples(1.0, 1.0 + len(spoken) / RATE_HZ)
    quiet = speech.samples(second_s, second_s + len(spoken) / RATE_HZ)
    assert 20 * np.log10(loud.std() / quiet.std()) < 16  # of the 36 dB that were between them
    end_s = second_s + len(spoken) / RATE_HZ
    assert any(start <= second_s + 0.1 and end >= end_s - 0.3 for start, end in speech.spans)


def test_each_channel_of_a_call_can_be_heard_alone(tmp_path: Path) -> None:
    spoken, pause = say(PHRASE), silence(6)
    left, right = np.concatenate([spoken, pause]), np.concatenate([pause, spoken])
    file = wav(np.stack([left, right], axis=1).tobytes(), channels=2)
    spans = []
    for channel in (0, 1):
        for _ in decode_speech(io.BytesIO(file), tmp_path / str(channel), max_s=60, channel=channel):
            pass
        speech = DecodedSpeech.load(tmp_path / str(channel))
        assert speech.duration_s == len(left) / RATE_HZ
        spans.append(speech.spans)
    assert spans[0][0][0] < 0.3 and spans[0][-1][1] < len(spoken) / RATE_HZ + 0.3
    assert spans[1][0][0] > 5.7 and spans[1][-1][1] > len(left) / RATE_HZ - 0.3
