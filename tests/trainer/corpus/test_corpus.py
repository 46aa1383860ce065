"""The synthetic corpus: deterministic windows whose texts and times are right."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from milo.engines.speech import espeak
from trainer.corpus import corpus, effects
from trainer.corpus.corpus import Kind

_HASH_WINDOWS = """
import hashlib, random
from trainer.corpus import corpus
rng = random.Random(0)
made = [corpus.window(rng, kind) for kind in ("short", "packed", "full") for _ in range(3)]
print(hashlib.sha256(b"".join(w.audio.tobytes() + w.text.encode() for w in made)).hexdigest())
"""


def test_a_fresh_process_makes_the_same_windows_from_the_same_seed() -> None:
    first, second = (subprocess.check_output([sys.executable, "-c", _HASH_WINDOWS], text=True) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("kind", ["short", "packed"])
def test_texts_and_times_follow_from_the_seed_whatever_was_made_before(kind: Kind) -> None:
    first, second = (corpus.window(random.Random("a"), kind) for _ in range(2))
    assert first.text == second.text
    assert [s.start_s for s in first.segments] == pytest.approx([s.start_s for s in second.segments], abs=0.1)


@pytest.mark.parametrize("kind", ["short", "packed", "full"])
def test_windows_are_as_long_as_they_may_be_and_times_lie_inside(kind: Kind) -> None:
    rng = random.Random(1)
    for _ in range(8):
        window = corpus.window(rng, kind)
        seconds = len(window.audio) / effects.RATE_HZ
        assert window.audio.dtype == np.float32
        assert np.isfinite(window.audio).all()
        assert seconds <= 30
        assert window.segments
        times = [t for s in window.segments for t in (s.start_s, s.end_s)]
        assert times == sorted(times)
        assert times[-1] <= seconds + 0.05


def test_speech_is_where_the_segments_say_it_is() -> None:
    window = corpus.window(random.Random(5), "packed", clean=True)
    loud = np.zeros(len(window.audio), dtype=bool)
    for segment in window.segments:
        loud[int((segment.start_s - 0.03) * 16000) : int((segment.end_s + 0.03) * 16000)] = True
    energy = window.audio**2
    assert energy[loud].sum() > 0.999 * energy.sum()


def test_a_sentence_that_is_cut_off_keeps_only_the_words_that_were_heard() -> None:
    rng = random.Random(0)
    cut = next(w for w in (corpus.window(rng, "full", clean=True) for _ in range(50)) if w.cut)
    assert cut.cut is not None
    assert len(cut.audio) == 30 * effects.RATE_HZ
    assert cut.cut.start_s < 30
    assert cut.text.endswith(cut.cut.text)


def test_the_held_out_voice_is_never_used_in_training() -> None:
    rng = random.Random(0)
    for language in ("mg", "fr", "en"):
        for _ in range(500):
            who = corpus.draw_voice(rng, language)
            assert who.base != corpus.HELD_OUT_BASE
            assert who.variant not in corpus.HELD_OUT_VARIANTS
    assert corpus.draw_voice(rng, "mg", "held out").base == corpus.HELD_OUT_BASE


def test_every_voice_that_the_corpus_names_exists() -> None:
    bases = {*corpus.MG_BASES, *corpus.FR_BASES, *corpus.EN_BASES, corpus.HELD_OUT_BASE}
    assert bases <= set(espeak.voices())
    assert {v for v in (*corpus.COMMON_VARIANTS, *corpus.HELD_OUT_VARIANTS) if v} <= set(espeak.variants())


def test_a_window_without_speech_has_no_text() -> None:
    window = corpus.no_speech_window(random.Random(0), 2.5)
    assert window.text == ""
    assert len(window.audio) == 40_000


def test_the_corpus_on_disk_is_a_manifest_and_its_files(tmp_path: Path) -> None:
    import soundfile

    windows = corpus.evaluation_windows(0, 3)
    rows = [json.loads(line) for line in corpus.write(tmp_path, windows).read_text(encoding="utf-8").splitlines()]
    assert [row["text"] for row in rows] == [w.text for w in windows]
    for row in rows:
        assert soundfile.info(tmp_path / row["audio"]).duration == pytest.approx(row["duration_s"], abs=0.01)


def test_resampling_keeps_pitch_and_length() -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(22050) / 22050).astype(np.float32)
    out = effects.resample(tone, 22050)
    assert len(out) == 16000
    assert np.argmax(np.abs(np.fft.rfft(out))) == 440


@pytest.mark.parametrize("codec", ["mp3", "libopus"])
def test_coding_keeps_length_and_roughly_the_sound(codec: str) -> None:
    tone = (0.5 * np.sin(2 * np.pi * 440 * np.arange(32000) / 16000)).astype(np.float32)
    out = effects.coded(tone, codec, 24_000)
    assert len(out) == len(tone)
    assert np.argmax(np.abs(np.fft.rfft(out[:16000]))) == 440


def test_every_effect_keeps_length_and_stays_finite() -> None:
    rng = np.random.default_rng(0)
    audio = rng.standard_normal(12_345).astype(np.float32)
    for make in (effects.room, effects.line, effects.simulate_recording):
        assert make(audio, rng).shape == audio.shape
    for _ in range(20):
        for heard in (effects.simulate_recording(audio, rng), effects.no_speech(rng, 5000)):
            assert np.isfinite(heard).all()
            assert heard.dtype == np.float32
