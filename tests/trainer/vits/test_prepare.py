"""`milo tts-data` picks the right speaker of a made-up set, and what it writes is ready for training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from milo.errors import Conflict, Invalid
from milo.recipes import Data
from milo.settings import Settings
from tests.milo.engines.speech.vits_models import write_vits
from tests.trainer.vits.voices import Speaker, write_voices
from trainer.data import load as training_data
from trainer.vits.prepare import Options, Report, prepare
from trainer.vits.prepare_cli import tts_data

SENTENCES = (
    "Manao ahoana tompoko, tonga soa.",
    "Misaotra betsaka ianao androany.",
    "Aiza ny tsena lehibe eto an-tanàna?",
    "Lafo be ny vary tamin'ny 12 mey.",
    "Veloma tompoko, mandra-pihaona.",
    "Inona no vaovao any aminareo?",
    "Handeha ho any Toamasina izahay.",
)
CLEAN, NOISY = 0.0005, 0.05


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lala speaks most, in noise; Naivo enough, and clean; Koto is clean and says too little."""
    folder = tmp_path_factory.mktemp("set")
    speakers = (
        Speaker("lala", "f2", SENTENCES, NOISY, 0.4),
        Speaker("naivo", None, SENTENCES[:5], CLEAN, 0.6),
        Speaker("koto", "m3", SENTENCES[5:], CLEAN, 0.4),
    )
    write_voices(folder / "set", speakers)
    write_vits(folder / "model")
    return folder


def settings_of(place: Path) -> Settings:
    return Settings(_env_file=None, home=place / "home", offline=True)


def make(place: Path, out: Path, **options: Any) -> Report:
    options = {"clips": (4, 4), "length_s": (1.0, 8.0), "model": str(place / "model")} | options
    return prepare(settings_of(place), Data(source=str(place / "set")), out, Options(**options))


@pytest.fixture(scope="module")
def report(place: Path) -> Report:
    return make(place, place / "voice")


def test_the_clean_speaker_with_enough_clips_is_chosen_and_the_report_says_why(report: Report) -> None:
    assert report.speaker == "naivo"
    assert "5 usable clips" in report.why and "next is lala" in report.why
    by_id = {one.id: one for one in report.speakers}
    assert {name: one.clips for name, one in by_id.items()} == {"lala": 7, "naivo": 5, "koto": 2}
    naivo, lala = by_id["naivo"], by_id["lala"]
    assert naivo.snr_db and lala.snr_db and naivo.snr_db > lala.snr_db + 6
    assert sum(lala.duration_histogram.values()) == 7
    assert naivo.rate_chars_per_s and 5 < naivo.rate_chars_per_s < 30


def test_the_clips_are_trimmed_levelled_and_at_the_models_rate(place: Path, report: Report) -> None:
    rows = [json.loads(line) for line in (place / "voice" / "metadata.jsonl").read_text().splitlines()]
    assert len(rows) == report.clips == 4
    peaks = []
    for row in rows:
        audio, rate_hz = soundfile.read(place / "voice" / row["file_name"], dtype="float32")
        assert rate_hz == report.sample_rate_hz == 16_000
        source, _ = soundfile.read(place / "set" / row["original_id"], dtype="float32")
        assert len(audio) < len(source) - 0.7 * rate_hz
        loud = np.sort(audio**2)[len(audio) // 2 :]
        peaks.append(10 * np.log10(loud.mean()))
    assert max(peaks) - min(peaks) < 3
    assert all(-24 < level < -12 for level in peaks)


def test_texts_are_in_words_and_what_the_model_has_no_letter_for_is_told(place: Path, report: Report) -> None:
    texts = [json.loads(line)["text"] for line in (place / "voice" / "metadata.jsonl").read_text().splitlines()]
    assert not any(char.isdigit() for text in texts for char in text)
    assert "." in report.outside_alphabet


def test_the_trainers_read_what_it_writes(place: Path, report: Report) -> None:
    items = training_data.load_all(settings_of(place), Data(source=str(place / "voice")), ("train", "validation"))
    assert sum(map(len, items.values())) == 4
    assert {item.speaker for part in items.values() for item in part} == {"naivo"}


def test_a_speaker_can_be_named_and_an_unknown_one_is_told_apart(place: Path, tmp_path: Path) -> None:
    assert make(place, tmp_path / "koto", speaker="koto").speaker == "koto"
    with pytest.raises(Invalid, match="naivo"):
        make(place, tmp_path / "naiva", speaker="naiva")


def test_a_folder_with_clips_is_left_alone(place: Path, report: Report) -> None:
    with pytest.raises(Conflict, match="clips already"):
        make(place, place / "voice")


def test_the_command_says_it_in_json_and_fails_softly_when_there_are_too_few(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILO_HOME", str(place / "home"))
    words = [str(place / "set"), "--out", str(tmp_path / "v"), "--length", "1-8", "--json"]
    done = CliRunner().invoke(
        tts_data, [*words, "--clips", "80-150", "--model", str(place / "model")], standalone_mode=False
    )
    assert done.return_value == 1, done.output
    document = json.loads(done.stdout)
    assert document["speaker"] == "lala" and "at least 80" in document["warnings"][0]
    assert (tmp_path / "v" / "report.json").is_file()


def test_every_clip_counts_none_is_held_out(place: Path, tmp_path: Path) -> None:
    write_voices(tmp_path / "set", (Speaker("lala", "f2", SENTENCES[:1], CLEAN, 0.4),))
    options = Options(clips=(1, 4), length_s=(1.0, 8.0), model=str(place / "model"))
    made = prepare(settings_of(place), Data(source=str(tmp_path / "set")), tmp_path / "voice", options)
    assert made.clips == 1
