"""Calls of two channels: who speaks on which, what is only an echo, and what is the same on both."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from milo.audio.sandbox import DecoderProcess
from milo.errors import BadMedia, NotFound
from milo.transcription.channels import Channels, decode_channels, load_channels
from milo.transcription.cues import Cue
from milo.transcription.transcript import Segment, Transcript, cues_of, render
from tests.support.audio_factory import wav
from tests.support.speech_factory import spoken

RATE_HZ = 16_000
TWO_AT_ONCE = Path(__file__).with_name("two-at-once.ogg")
OPENING = "Tonga soa eto amin'ny orinasa"


def at(start_s: float, *numbers: int, total_s: float, gain_db: float = 0.0) -> np.ndarray:
    """Sentences from this second on, in silence."""
    out = np.zeros(round(total_s * RATE_HZ), np.float32)
    speech = np.concatenate([spoken(number) for number in numbers]) * 10 ** (gain_db / 20)
    first = round(start_s * RATE_HZ)
    out[first : first + len(speech)] = speech
    return out


def heard(folder: Path, *channels: np.ndarray) -> Channels:
    pcm = np.rint(np.stack(channels, axis=1) * 32767).astype(np.int16)
    for _ in decode_channels(io.BytesIO(wav(pcm.tobytes(), channels=len(channels))), folder, max_s=600):
        pass
    return load_channels(folder)


def noise(total_s: float) -> np.ndarray:
    hiss: np.ndarray = np.random.default_rng(1).standard_normal(round(total_s * RATE_HZ)).astype(np.float32) * 1e-4
    return hiss


def test_two_people_who_talk_at_once_are_both_heard(tmp_path: Path) -> None:
    with TWO_AT_ONCE.open("rb") as file:
        for _ in decode_channels(file, tmp_path, max_s=60):
            pass
    found = load_channels(tmp_path)
    assert [one.speaker for one in found.speakers] == ["A", "B"] and not found.warnings
    assert all(one.speech.speech_s > 1.5 for one in found.speakers)


def test_a_quiet_side_is_no_loss(tmp_path: Path) -> None:
    found = heard(tmp_path, at(0.5, 0, 1, total_s=9), at(5, 2, 3, total_s=9, gain_db=-36) + noise(9))
    one, other = (channel.speech for channel in found.speakers)
    assert one.spans[0][0] < 0.7 and one.spans[-1][1] < 5
    assert other.spans[0][0] > 4.7 and other.speech_s > 1.5


@pytest.mark.parametrize("louder_db", [0.0, 14.0, -14.0])
def test_the_same_sound_on_both_channels_is_one_speaker(tmp_path: Path, louder_db: float) -> None:
    voice = at(0.5, 0, 1, 2, total_s=8, gain_db=-20)
    found = heard(tmp_path, voice * 10 ** (louder_db / 20) + noise(8), voice)
    assert [one.number for one in found.speakers] == [1 if louder_db < 0 else 0]
    assert found.warnings == ["same_channels: channels 1 and 2 hold the same sound: they are one speaker."]


def test_what_a_microphone_hears_of_the_other_speaker_is_not_said_twice(tmp_path: Path) -> None:
    caller, agent = at(0.5, 0, 1, total_s=10), at(6, 2, 3, total_s=10)
    echo = np.roll(caller, round(0.06 * RATE_HZ)) * 10 ** (-30 / 20)
    (one, other) = heard(tmp_path, caller + noise(10), agent + echo).speakers
    assert one.speech.spans[0][0] < 0.7
    assert other.speech.spans[0][0] > 5.7 and other.speech.speech_s > 1.5
    before = other.speech.frame_probabilities[: 5 * RATE_HZ // 512]
    assert before.max() < 100, "an echo is no speech that could be without words"


def test_every_channel_of_a_meeting_is_a_speaker(tmp_path: Path) -> None:
    found = heard(tmp_path, *(at(0.5 + 2.5 * n, n, total_s=9) for n in range(3)))
    assert [one.speaker for one in found.speakers] == ["A", "B", "C"]
    assert found.duration_s == 9


def test_a_recording_of_one_channel_is_one_speaker_and_says_so(tmp_path: Path) -> None:
    found = heard(tmp_path, at(0.5, 0, total_s=3))
    assert [one.speaker for one in found.speakers] == ["A"]
    assert [warning.split(":")[0] for warning in found.warnings] == ["one_channel"]


def test_more_channels_than_a_call_has_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadMedia, match="16 channels; channels=separate takes up to 8"):
        heard(tmp_path, *(noise(1) for _ in range(16)))
    with pytest.raises(NotFound):
        load_channels(tmp_path)


def test_a_channel_that_comes_later_is_heard_too(tmp_path: Path) -> None:
    """Two WAVs in one file, the first of one channel. The sandbox tells how many there were in all."""
    first = np.rint(at(0.3, 0, total_s=3) * 32767).astype(np.int16)
    both = [at(0.3, 1, total_s=3), at(0.3, 3, total_s=3)]
    second = np.rint(np.stack(both, axis=1) * 32767).astype(np.int16)
    file = io.BytesIO(wav(first.tobytes()) + wav(second.tobytes(), channels=2))
    process = DecoderProcess(2 * 10**9, 60)
    try:
        for _ in decode_channels(file, tmp_path, max_s=60, open_stream=process.stream):
            pass
    finally:
        process.close()
    one, other = load_channels(tmp_path).speakers
    assert one.speech.spans[0][0] < 0.5 and one.speech.spans[-1][0] > 3
    assert other.speech.spans[0][0] > 3 and other.speech.duration_s == 6


def talk() -> Transcript:
    """A speaks for seven seconds, B says yes in the middle."""
    numbers = {"confidence": 0.9, "avg_logprob": -0.1, "no_speech_prob": 0.0, "compression_ratio": 1.0}
    said = [
        ("A", 0.0, 7.0, "Tonga soa eto amin'ny orinasa"),
        ("B", 3.0, 3.3, "Eny"),
        ("A", 7.2, 8.0, "Misaotra <anao>"),
    ]
    segments = [
        Segment(id=n, start=start, end=end, text=text, channel="AB".index(who), speaker=who, **numbers)
        for n, (who, start, end, text) in enumerate(said)
    ]
    about = {"language": "mg", "language_probability": 1.0, "confidence": 0.9, "model": "m@1", "engine": "fake"}
    return Transcript(text=" ".join(s.text for s in segments), duration=9, speech_s=8, segments=segments, **about)


def test_a_cue_gives_way_to_the_next_of_its_speaker_and_stands_beside_the_other(tmp_path: Path) -> None:
    first, between, last = cues_of(talk())
    assert first == Cue(0.0, 7.0, (OPENING,), "A")
    assert between.speaker == "B" and 3.8 < between.end_s < 4
    assert first.end_s < last.start_s == 7.2


def test_every_rendering_names_the_speakers() -> None:
    assert render(talk(), "txt").splitlines() == [
        f"A: {OPENING}",
        "B: Eny",
        "A: Misaotra <anao>",
    ]
    assert [line for line in render(talk(), "srt").splitlines() if ": " in line and "-->" not in line] == [
        f"A: {OPENING}",
        "B: Eny",
        "A: Misaotra <anao>",
    ]
    assert "<v B>Eny" in render(talk(), "vtt") and "<v A>Misaotra &lt;anao&gt;" in render(talk(), "vtt")
    header, first, *_ = render(talk(), "tsv").splitlines()
    assert header.split("\t") == ["start", "end", "text", "speaker"] and first.split("\t")[-1] == "A"
    assert '"channel":1,"speaker":"B"' in render(talk(), "json")
    assert '"channel": 1, "speaker": "B"' in render(talk(), "verbose_json")


def test_nothing_is_said_of_speakers_where_channels_were_mixed() -> None:
    alone = [segment.model_copy(update={"channel": None, "speaker": None}) for segment in talk().segments]
    mixed = talk().model_copy(update={"segments": alone})
    for format in ("json", "verbose_json", "tsv", "vtt", "srt", "txt"):
        rendered = render(mixed, format)
        assert not any(word in rendered for word in ("speaker", "channel", "<v", "A:")), format
