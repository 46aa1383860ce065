"""A part of a recording is the same samples as those of the whole, and is what is trained on and judged."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from milo.audio.lasting import lasting_of
from milo.recipes import Data
from milo.settings import Settings
from trainer.data.load import load, load_to_judge
from trainer.data.measure import decode
from trainer.data.segments import cut


@pytest.fixture
def local(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", _env_file=None)


def recording(path: Path, rate: int, channels: int, seconds: float = 12.0, subtype: str | None = None) -> Path:
    samples = np.random.default_rng(3).standard_normal((round(rate * seconds), channels)) * 0.1
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


@pytest.mark.parametrize("as_bytes", [False, True])
@pytest.mark.parametrize(
    ("name", "rate", "channels", "subtype"),
    [
        ("a.wav", 16_000, 1, None),
        ("a.wav", 44_100, 2, None),
        ("a.wav", 8_000, 1, "FLOAT"),
        ("a.flac", 48_000, 1, "PCM_24"),
        ("a.flac", 22_050, 2, None),
        ("a.mp3", 44_100, 1, None),
        ("a.ogg", 16_000, 1, None),
    ],
)
def test_a_part_is_to_the_sample_what_the_whole_holds_there(
    tmp_path: Path, name: str, rate: int, channels: int, subtype: str | None, as_bytes: bool
) -> None:
    path = recording(tmp_path / name, rate, channels, subtype=subtype)
    decoder = lasting_of(Settings(_env_file=None))
    file = io.BytesIO(path.read_bytes()) if as_bytes else path.open("rb")
    whole = decode(file, 60, decoder)
    for start_s, end_s in ((0.0, 1.0), (3.3333, 4.7), (5.01, 5.5), (10.9, 12.0)):
        expected = whole[round(start_s * 16_000) : round(end_s * 16_000)]
        file.seek(0)
        assert np.array_equal(cut(file, start_s, end_s, decoder), expected), (start_s, end_s)
    file.close()


def test_rows_of_a_long_file_are_its_parts_in_training_and_evaluation_alike(local: Settings, tmp_path: Path) -> None:
    path = recording(tmp_path / "long.flac", 16_000, 1)
    with path.open("rb") as file:
        whole = decode(file, 60, lasting_of(local))
    rows = [("0", "1.5", "eny", "train"), ("2", "3", "tsia", "test"), ("11.9", "14", "diso", "train")]
    table = "audio,text,start,end,split\n" + "".join(f"long.flac,{t},{a},{b},{s}\n" for a, b, t, s in rows)
    (tmp_path / "a.csv").write_text(table)
    data = Data(source=str(tmp_path / "a.csv"), splits={"validation": "test"})
    train, test = load(local, data, "train"), load_to_judge(local, data, "test")
    assert [item.duration_s for item in train] == [1.5] and [item.duration_s for item in test] == [1.0]
    assert train.dropped == {"with a segment that ends after its recording": ["long.flac@11.9-14"]}
    assert np.array_equal(train[0].audio(), whole[:24_000]) and np.array_equal(test[0].audio(), whole[32_000:48_000])
    assert train[0].sha256 != test[0].sha256
