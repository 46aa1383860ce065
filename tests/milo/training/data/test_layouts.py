"""Sets as others lay them out are read as they mean it, before and without any audio being decoded."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from milo.errors import Invalid
from milo.recipes import Data
from milo.training import datasets
from milo.training.data.row import Row
from milo.training.data.splits import choose

HERE = Path(__file__).parent


def clip(path: Path, seed: int = 0, seconds: float = 1.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(seed).standard_normal(round(16_000 * seconds)) * 0.1
    soundfile.write(path, samples, 16_000)
    return path


def read(source: Path, split: str = "train", **more: Any) -> list[Row]:
    data = Data(source=str(source), **more)
    parts, _ = datasets.read(data)
    assert parts is not None
    return choose(parts, data, split)  # type: ignore[arg-type]


def everything(source: Path, **more: Any) -> list[Row]:
    parts, _ = datasets.read(Data(source=str(source), **more))
    return [row for rows in (parts or {}).values() for row in rows]


@pytest.mark.parametrize("name", ["quote.tsv", "tab.csv"])
def test_tables_of_tabs_give_each_row_its_own_text_whatever_quotes_are_in_it(tmp_path: Path, name: str) -> None:
    shutil.copy(HERE / name, tmp_path)
    for number in range(24):
        clip(tmp_path / f"a{number}.flac", number, 0.1)
    rows = everything(tmp_path / name)
    assert len(rows) == 24 and all(row.state for row in rows)
    if name == "quote.tsv":
        assert rows[2].text == '"Eny tompoko.' and rows[9].text == 'Hoy izy: "Zato telo amby sivifolo ariary."'
    datasets.check(Data(source=str(tmp_path / name)), to_train=True)


def test_a_tsv_that_a_csv_writer_quoted_is_read_by_its_quotes(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text('audio\ttext\n0.wav\t"hoy izy ""eny"""\n1.wav\tTsia\n')
    assert [row.text for row in everything(path)] == ['hoy izy "eny"', "Tsia"]
    path.write_text('"audio"\t"text"\n"0.wav"\t"Eny tompoko"\n"1.wav"\t"Tsia\nmihitsy"\n')
    assert [row.text for row in everything(path)][1] == "Tsia mihitsy"


def test_paths_of_windows_are_read_where_they_are_relative_and_refused_with_the_row_where_not(tmp_path: Path) -> None:
    clip(tmp_path / "clips" / "a.wav")
    path = tmp_path / "a.csv"
    path.write_text("audio,text\nclips\\a.wav,Eny\n")
    assert everything(path)[0].state
    path.write_text("audio,text\nclips/a.wav,Eny\nC:\\clips\\a.wav,Tsia\n")
    with pytest.raises(Invalid, match=r"a.csv, line 3: 'C:.*a path of a Windows machine.*relative to the table"):
        datasets.check(Data(source=str(path)), to_train=True)


def test_a_set_whose_audio_is_nowhere_is_refused_with_the_place_that_was_looked_into(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("audio,text\nx/a.wav,Eny\n")
    with pytest.raises(Invalid, match=r"none of the 1 audio files is there; x/a.wav was looked for as .*x/a.wav"):
        datasets.check(Data(source=str(tmp_path / "a.csv")), to_train=True)


def test_common_voice_has_its_audio_in_clips_and_its_splits_in_tables(tmp_path: Path) -> None:
    for split, seed in (("train", 1), ("dev", 2), ("test", 3)):
        clip(tmp_path / "clips" / f"{split}.wav", seed)
        head = "client_id\tpath\tsentence\tup_votes\tlocale"
        (tmp_path / f"{split}.tsv").write_text(f'{head}\nc{seed}\t{split}.wav\t"Teny {split}\t2\tmg\n')
    for split, role in (("train", "train"), ("dev", "validation"), ("test", "test")):
        (row,) = read(tmp_path, role)
        assert row.text == f'"Teny {split}' and row.state and row.speaker and row.language == "mg"
    said = datasets.read(Data(source=str(tmp_path)))[1]
    assert said == "Common Voice: audio from 'path', text from 'sentence', speaker from 'client_id'"
    assert read(tmp_path / "train.tsv")[0].state  # the table alone finds clips/, too
    datasets.check(Data(source=str(tmp_path)), to_train=True)


def test_the_first_sentence_of_ljspeech_is_a_sentence(tmp_path: Path) -> None:
    for number in (1, 2):
        clip(tmp_path / "wavs" / f"LJ-{number}.wav", number)
    (tmp_path / "metadata.csv").write_text("LJ-1|Tamin'ny 1 \"ora|Tamin'ny iray \"ora\nLJ-2|Eny|Eny\n")
    rows = everything(tmp_path)
    assert [row.text for row in rows] == ["Tamin'ny iray \"ora", "Eny"] and all(row.state for row in rows)


@pytest.mark.parametrize("shape", ["lines", "array"])
def test_nemo_manifests_are_read_from_json_with_their_segments(tmp_path: Path, shape: str) -> None:
    clip(tmp_path / "long.wav", seconds=4)
    rows = [{"audio_filepath": "long.wav", "offset": n, "duration": 1.5, "text": f"teny {n}"} for n in (0, 2)]
    content = json.dumps(rows) if shape == "array" else "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "train_manifest.json").write_text(content)
    for source in (tmp_path, tmp_path / "train_manifest.json"):
        found = everything(source)
        assert [(row.start_s, row.end_s, row.text) for row in found] == [(0, 1.5, "teny 0"), (2, 3.5, "teny 2")]


def test_kaldi_folders_are_cut_by_their_segments(tmp_path: Path) -> None:
    clip(tmp_path / "audio" / "r.wav", seconds=4)
    for split, start in (("train", 0.5), ("dev", 2.0)):
        place = tmp_path / split
        place.mkdir()
        (place / "wav.scp").write_text("r audio/r.wav\n")
        (place / "segments").write_text(f"u-{split} r {start} {start + 1}\n")
        (place / "text").write_text(f"u-{split} Teny roa {split}\n")
        (place / "utt2spk").write_text(f"u-{split} Aina\n")
    (row,) = read(tmp_path)
    assert (row.id, row.text, row.speaker, row.start_s, row.end_s) == ("u-train", "Teny roa train", "Aina", 0.5, 1.5)
    assert row.state and read(tmp_path, "validation")[0].id == "u-dev"
    datasets.check(Data(source=str(tmp_path)), to_train=True)  # parts of one recording that do not overlap are no leak
    (tmp_path / "train" / "wav.scp").write_text("r sph2pipe -f wav r.sph |\n")
    with pytest.raises(Invalid, match="line 1, is a command .*Write the audio into files"):
        read(tmp_path)


def test_shards_of_webdataset_are_read_where_they_lie(tmp_path: Path) -> None:
    for split in ("train", "test"):
        with tarfile.open(tmp_path / f"{split}-000.tar", "w") as shard:
            for number in (1, 2):
                audio = clip(tmp_path / "x.wav", number).read_bytes()
                text = json.dumps({"text": f"teny {split} {number}", "speaker": "Aina"}).encode()
                for name, content in ((f"{number}.wav", audio), (f"{number}.json", text)):
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    shard.addfile(member, io.BytesIO(content))
    (tmp_path / "x.wav").unlink()
    rows = read(tmp_path, "test")
    assert [row.text for row in rows] == ["teny test 1", "teny test 2"] and rows[0].speaker == "Aina"
    assert rows[1].open().read() == audio


@pytest.mark.parametrize(
    ("head", "cells", "expected"),
    [
        ("audio,text,start,end", "a.wav,Eny,1.5,3", (1.5, 3)),
        ("path,sentence,offset,duration", "a.wav,Eny,1.5,1", (1.5, 2.5)),
        ("audio,text,start_ms,end_ms", "a.wav,Eny,1500,3000", (1.5, 3)),
        ("audio,text,start_time,end_time", "a.wav,Eny,00:01.5,0:00:03", (1.5, 3)),
        ("audio,text,start,duration", "a.wav,Eny,1.5,1", (1.5, 2.5)),
        ("audio,text,duration", "a.wav,Eny,4", (0, None)),
        ("audio,text,start,end", "a.wav,Eny,,", (0, None)),
    ],
)
def test_which_part_of_a_recording_a_row_means(
    tmp_path: Path, head: str, cells: str, expected: tuple[float, float]
) -> None:
    clip(tmp_path / "a.wav", seconds=4)
    (tmp_path / "a.csv").write_text(f"{head}\n{cells}\n")
    (row,) = everything(tmp_path / "a.csv")
    assert (row.start_s, row.end_s) == expected
    (whole,) = everything(tmp_path / "a.csv", segments=False)
    assert (whole.start_s, whole.end_s) == (0, None)


@pytest.mark.parametrize(
    ("head", "cells", "said"),
    [
        ("audio,text,start,end", "a.wav,Eny,3,1.5", "line 2: start '3' and end '1.5' are no part of a recording"),
        ("audio,text,start,end", "a.wav,Eny,x,1.5", "line 2: start 'x'"),
        ("audio,text,offset", "a.wav,Eny,3", "a column 'offset' and none for where each segment ends"),
        ("audio,text,start_samples,end_samples", "a.wav,Eny,0,16000", "counts its segments in samples"),
    ],
)
def test_a_part_that_is_none_is_refused_before_anything_is_queued(
    tmp_path: Path, head: str, cells: str, said: str
) -> None:
    clip(tmp_path / "a.wav", seconds=4)
    (tmp_path / "a.csv").write_text(f"{head}\n{cells}\n")
    with pytest.raises(Invalid, match=said):
        datasets.check(Data(source=str(tmp_path / "a.csv")), to_train=True)


def test_audio_that_is_in_two_splits_is_refused_unless_the_recipe_takes_it(tmp_path: Path) -> None:
    content = clip(tmp_path / "a.wav", 1).read_bytes()
    (tmp_path / "copy.wav").write_bytes(content)
    clip(tmp_path / "b.wav", 2)
    path = tmp_path / "a.csv"
    path.write_text("audio,text,split\na.wav,Eny,train\nb.wav,Tsia,validation\ncopy.wav,Hafa,test\n")
    with pytest.raises(Invalid, match="1 of test share their audio with train, such as a.wav and copy.wav"):
        datasets.check(Data(source=str(path)), to_train=True)
    datasets.check(Data(source=str(path), shared_audio=True), to_train=True)
    path.write_text("audio,text,split,start,end\na.wav,Eny,train,0,0.5\na.wav,Tsia,test,0.4,1\n")
    with pytest.raises(Invalid, match="1 of test share their audio"):
        datasets.check(Data(source=str(path)), to_train=True)


def test_a_letter_typed_as_two_is_one(tmp_path: Path) -> None:
    clip(tmp_path / "a.wav")
    (tmp_path / "a.csv").write_text("audio,text\na.wav,voalo\u0300hany\n")
    assert everything(tmp_path / "a.csv")[0].text == "voal\u00f2hany"


def test_what_was_guessed_is_said_when_it_is_checked(tmp_path: Path) -> None:
    clip(tmp_path / "a.wav")
    (tmp_path / "a.csv").write_text("path,sentence\na.wav,Eny\n")
    said = datasets.check(Data(source=str(tmp_path / "a.csv")), to_train=True)
    assert said == "a.csv: audio from 'path', text from 'sentence'"


def test_of_a_large_table_the_first_rows_are_checked_and_the_rest_is_said_to_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "MOST_TABLE_BYTES", 100)
    monkeypatch.setattr(datasets, "HEAD_ROWS", 3)
    path = tmp_path / "a.csv"
    clip(tmp_path / "a.wav")
    path.write_text("path,sentence\n" + "a.wav,Eny\n" * 20 + "broken,row,of,many\n")
    assert datasets.check(Data(source=str(path)), to_train=True) == (
        "a.csv: audio from 'path', text from 'sentence'; all of it is checked when the job begins"
    )
    path.write_text("file,words\n" + "a.wav,Eny\n" * 20)
    with pytest.raises(Invalid, match="no column 'text'"):
        datasets.check(Data(source=str(path)), to_train=True)


def test_what_only_the_job_can_read_is_said_to_be_checked_then(tmp_path: Path) -> None:
    later = "all of it is checked when the job begins"
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    assert datasets.check(Data(source=str(tmp_path / "a.parquet")), to_train=True) == f"Parquet; {later}"
    assert datasets.check(Data(source="google/fleurs"), to_train=True) == f"google/fleurs of the hub; {later}"
    assert datasets.check(Data(source="synthetic"), to_train=True) == "synthetic"


def test_the_columns_of_a_set_saved_to_disk_are_checked_without_reading_it(tmp_path: Path) -> None:
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train"]}')
    (tmp_path / "train").mkdir()
    info = tmp_path / "train" / "dataset_info.json"
    info.write_text('{"features": {"audio": {}, "transcription": {}}}')
    said = datasets.check(Data(source=str(tmp_path)), to_train=True)
    assert said.startswith("save_to_disk: audio from 'audio', text from 'transcription'; all of it")
    info.write_text('{"features": {"audio": {}, "words": {}}}')
    with pytest.raises(Invalid, match="no column 'text'; its columns are audio, words"):
        datasets.check(Data(source=str(tmp_path)), to_train=True)


def test_many_pairs_are_checked_when_the_job_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "MOST_TABLE_BYTES", 100)
    path = tmp_path / "a.tsv"
    path.write_text("mg\tfr\n" + "Eny\tOui\n" * 100)
    said = datasets.check(Data(source=str(path), language="mg", target_language="fr"), "nllb")
    assert said.endswith("all of it is checked when the job begins")
