"""Quiet speech is raised, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from milo.audio.level import Leveler, Pcm, even_level
from milo.audio.reading import stream
from milo.audio.vad import find_speech
from tests.support.audio_factory import RATE_HZ, blocks, room, say, silence

BABBLE = Path(__file__).with_name("babble.ogg")
SPEECH = np.concatenate([silence(0.5), say("The quick brown fox jumps over the lazy dog."), silence(0.8)])


def lower(pcm: Pcm, by_db: float) -> Pcm:
    return np.rint(pcm * 10 ** (-by_db / 20)).astype(np.int16)


def level_db(pcm: Pcm) -> float:
    """Of the louder half, without silence."""
    return float(10 * np.log10(np.mean(np.square(pcm[np.abs(pcm) > np.abs(pcm).max() // 20] / 32768.0))))


@pytest.mark.parametrize("by_db", [30, 40, 50])
def test_speech_that_is_too_quiet_is_raised_and_all_of_it_heard(by_db: float) -> None:
    raised = even_level(lower(SPEECH, by_db))
    assert level_db(raised) > -34
    (loud,), (heard,) = find_speech(SPEECH), find_speech(raised)
    assert np.abs(np.subtract(loud, heard)).max() <= 0.1 * RATE_HZ


def test_the_quiet_side_of_a_call_is_raised_and_the_loud_one_is_left_alone() -> None:
    call = np.concatenate([SPEECH, lower(SPEECH, 35), SPEECH])
    raised = even_level(call)
    at = len(SPEECH)
    assert np.array_equal(raised[: at - RATE_HZ], call[: at - RATE_HZ])
    assert np.array_equal(raised[2 * at + RATE_HZ :], call[2 * at + RATE_HZ :])
    assert level_db(raised[at : 2 * at]) > level_db(call[at : 2 * at]) + 12


def test_speech_at_an_ordinary_level_passes_unchanged() -> None:
    for by_db in (0, 10):
        pcm = lower(SPEECH, by_db)
        assert np.array_equal(even_level(pcm), pcm)


def noise(kind: str) -> Pcm:
    rng = np.random.default_rng(1)
    white = rng.standard_normal(20 * RATE_HZ)
    at_s = np.arange(len(white)) / RATE_HZ
    signal = {
        "white": white,
        "room": np.cumsum(white) - np.convolve(np.cumsum(white), np.full(400, 1 / 400), "same"),
        "hum": sum(np.sin(2 * np.pi * 50 * k * at_s) / k for k in range(1, 6)),
        "begins": white * (at_s > 9),
        "fades": white * np.exp(-at_s / 3),
        "offset": 1 + 0.001 * white,
    }[kind]
    return (signal / np.abs(signal).max() * 150).astype(np.int16)


@pytest.mark.parametrize("kind", ["white", "room", "hum", "begins", "fades", "offset"])
def test_what_is_no_speech_is_not_raised(kind: str) -> None:
    pcm = noise(kind)
    assert np.array_equal(even_level(pcm), pcm)


@pytest.mark.parametrize("by_db", [0, 15, 30, 45])
def test_twelve_who_talk_at_once_are_not_raised_wherever_they_stand(by_db: float) -> None:
    crowd = lower(np.concatenate(list(stream(BABBLE, max_s=60))), by_db)
    leveler = Leveler()
    raised = np.concatenate([leveler.feed(crowd), leveler.finish()])
    assert leveler.raised_s <= 0.5
    assert find_speech(raised) == find_speech(crowd)


def test_silence_and_nothing_stay_what_they_are() -> None:
    assert len(even_level(silence(0))) == 0
    assert not even_level(silence(7)).any()
    assert len(even_level(room(0.013))) == len(room(0.013))


@pytest.mark.parametrize("size", [1, 777, 48_000])
def test_pieces_of_any_size_give_the_same_samples(size: int) -> None:
    pcm = np.concatenate([SPEECH, lower(SPEECH, 40)])[: 5 * RATE_HZ + 7]
    leveler = Leveler()
    given = [leveler.feed(piece) for piece in blocks(pcm, size)] if size > 1 else [leveler.feed(pcm)]
    assert np.array_equal(np.concatenate([*given, leveler.finish()]), even_level(pcm))


def test_what_a_recording_can_not_hold_is_told() -> None:
    leveler = Leveler()
    whisper = np.tile(lower(SPEECH, 66), 3)
    leveler.feed(whisper)
    leveler.finish()
    assert leveler.warning.startswith("too_quiet: ")
    ordinary = Leveler()
    ordinary.feed(lower(SPEECH, 40))
    ordinary.finish()
    assert ordinary.warning == ""
