"""A data set opens its own files and no others, whatever its rows, lists and links name, and says nothing of others."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile

from milo.errors import Invalid, MiloError
from milo.recipes import Data
from milo.settings import Settings
from milo.training import datasets
from milo.training.data.pairs import load_pairs
from trainer.data.load import Dataset, load_to_judge, read_splits

MISSING = "with a missing audio file"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A recording that is nobody's business."""
    (tmp_path / "elsewhere").mkdir()
    return speak(tmp_path / "elsewhere" / "secret.wav")


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", _env_file=None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "set").mkdir()
    speak(tmp_path / "set" / "own.wav")
    return tmp_path / "set"


def speak(path: Path) -> Path:
    soundfile.write(path, np.random.default_rng(1).standard_normal(16_000) * 0.1, 16_000)
    return path


def judged(settings: Settings, source: Path, **more: object) -> Dataset:
    return load_to_judge(settings, Data(source=str(source), splits={"test": "train"}, **more), "test")


Names = dict[str, str]
"""Text of a row -> the recording that it names."""
Writer = Callable[[Path, Names], Path]


def _csv(folder: Path, names: Names) -> Path:
    (folder / "metadata.csv").write_text("file_name,transcription\n" + "".join(f"{n},{t}\n" for t, n in names.items()))
    return folder


def _jsonl(folder: Path, names: Names, column: str = "audio", table: str = "all.jsonl") -> Path:
    (folder / table).write_text("".join(json.dumps({column: n, "text": t}) + "\n" for t, n in names.items()))
    return folder / table


def _tsv(folder: Path, names: Names) -> Path:
    (folder / "all.tsv").write_text("path\tsentence\n" + "".join(f"{n}\t{t}\n" for t, n in names.items()))
    return folder / "all.tsv"


def _nemo(folder: Path, names: Names) -> Path:
    return _jsonl(folder, names, "audio_filepath", "train_manifest.json").parent


def _kaldi(folder: Path, names: Names) -> Path:
    (folder / "wav.scp").write_text("".join(f"{t} {n}\n" for t, n in names.items()))
    (folder / "text").write_text("".join(f"{t} {t}\n" for t in names))
    return folder


def _ljspeech(folder: Path, names: Names) -> Path:
    (folder / "metadata.csv").write_text("".join(f"{n}|{t}|{t}\n" for t, n in names.items()))
    return folder


def _parquet(folder: Path, names: Names) -> Path:
    import pyarrow
    import pyarrow.parquet

    audio = [{"bytes": None, "path": name} for name in names.values()]
    pyarrow.parquet.write_table(pyarrow.table({"audio": audio, "text": list(names)}), folder / "train.parquet")
    return folder / "train.parquet"


@pytest.mark.parametrize("write", [_csv, _jsonl, _tsv, _nemo, _kaldi, _ljspeech, _parquet])
def test_a_row_that_names_another_file_is_like_one_whose_file_is_not_there(
    home: Settings, folder: Path, secret: Path, write: Writer
) -> None:
    (folder / "link.wav").symlink_to(secret)
    (folder / "linked").symlink_to(secret.parent)
    (folder / "zero.wav").symlink_to("/dev/zero")
    os.mkfifo(folder / "fifo.wav")
    names = {
        "eny": "own.wav", "absolute": str(secret), "up": "../elsewhere/secret.wav", "link": "link.wav",
        "folder": "linked/secret.wav", "proc": f"/proc/self/root{secret}", "absent": "absent.wav", "fifo": "fifo.wav",
        "zero": "zero.wav", "url": f"file://{secret}",
    }  # fmt: skip
    source = write(folder, names)
    found = judged(home, source)
    assert [item.text for item in found.items if item.sha256] == ["eny"]
    assert set(found.dropped) == {MISSING, "with an audio file outside its folder and MILO_AUDIO_ROOTS"}
    stranger = home.model_copy(update={"audio_roots": [str(folder)]})
    found = judged(stranger, source, confined=True)
    assert [item.text for item in found.items if item.sha256] == ["eny"]
    assert {why: len(ids) for why, ids in found.dropped.items()} == {MISSING: len(names) - 1}
    for item in found.items[1:]:
        with pytest.raises(MiloError, match="that may be read"):
            item.audio()


def test_what_the_operator_allows_may_lie_beside_a_set(folder: Path, secret: Path, tmp_path: Path) -> None:
    roots = [str(secret.parent)]
    allowed = Settings(home=tmp_path / "home", audio_roots=roots, _env_file=None)
    source = _jsonl(folder, {"eny": "own.wav", "tsia": str(secret)})
    assert len([item for item in judged(allowed, source).items if item.sha256]) == 2
    with pytest.raises(MiloError):
        judged(allowed, source, confined=True)


def test_the_rows_of_save_to_disk_and_its_lists_stay_inside(home: Settings, folder: Path, secret: Path) -> None:
    from datasets import Dataset as Table

    saved = folder / "saved"
    Table.from_dict({"audio": ["../own.wav", str(secret)], "text": ["Eny", "Tsia"]}).save_to_disk(saved)
    found = judged(home, saved)
    assert [item.sha256 for item in found.items] == ["", ""]  # the folder of the set is `saved`
    state = json.loads((saved / "state.json").read_text())
    (saved / state["_data_files"][0]["filename"]).rename(secret.parent / "data.arrow")
    for name in ("../../elsewhere/data.arrow", str(secret.parent / "data.arrow"), "linked.arrow"):
        (saved / "state.json").write_text(json.dumps(state | {"_data_files": [{"filename": name}]}))
        with pytest.raises(Invalid, match="no file of it that may be read"):
            judged(home, saved)
    (saved / "linked.arrow").symlink_to(secret.parent / "data.arrow")
    with pytest.raises(Invalid, match="no file of it that may be read"):
        judged(home, saved)
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": ["../set/saved"]}))
    with pytest.raises(Invalid, match="no file of it that may be read"):
        judged(home, folder)


def test_a_card_names_files_of_its_folder_only(home: Settings, folder: Path, secret: Path) -> None:
    _parquet(secret.parent, {"tsia": "secret.wav"})
    _parquet(folder, {"eny": "own.wav"})
    urls = ("https://127.0.0.1:1/a.parquet", "zip://a::b.zip", "~/x", "a/../../x")
    for named in (f"{secret.parent}/*.parquet", "../elsewhere/*.parquet", *urls):
        card = f"---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: {named!r}\n---\n"
        (folder / "README.md").write_text(card)
        with pytest.raises(Invalid, match="no file of it that may be read"):
            judged(home, folder)


def test_a_link_among_the_files_of_a_card_is_not_followed_out(home: Settings, folder: Path, secret: Path) -> None:
    _parquet(secret.parent, {"tsia": "secret.wav"})
    (folder / "train.parquet").symlink_to(secret.parent / "train.parquet")
    with pytest.raises(Invalid, match="no file of it that may be read"):
        judged(home, folder)
    with pytest.raises(MiloError, match="no data set|no file"):
        read_splits(home, Data(source=str(folder / "train.parquet"), confined=True), ("train",))


def test_a_transcript_that_is_a_link_to_another_file_is_none(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "passwords.txt").write_text("tsiambaratelo")
    (folder / "own.txt").symlink_to(tmp_path / "passwords.txt")
    with pytest.raises(Invalid, match="holds no data set"):
        datasets.read(Data(source=str(folder)))
    (folder / "metadata.csv").symlink_to(tmp_path / "passwords.txt")
    with pytest.raises(Invalid, match="holds no data set"):
        datasets.read(Data(source=str(folder)))


def test_members_of_a_shard_are_what_lies_in_it(home: Settings, folder: Path, secret: Path) -> None:
    """Links, devices, files with holes and sizes that go beyond the shard are passed over."""
    sound = (folder / "own.wav").read_bytes()
    shard = folder / "train-000.tar"
    with tarfile.open(shard, "w") as archive:
        for name, kind in (("a", b"0"), ("b", tarfile.SYMTYPE), ("c", tarfile.LNKTYPE), ("d", tarfile.FIFOTYPE)):
            for suffix, content in (("wav", sound), ("txt", b"Eny")):
                member = tarfile.TarInfo(f"{name}.{suffix}")
                member.size = len(content)
                if suffix == "wav":
                    member.type, member.linkname = kind, str(secret)
                archive.addfile(member, io.BytesIO(content) if member.isreg() else None)
    found = judged(home, shard)
    assert [item.id for item in found.items] == ["a"] and len(found.items[0].audio()) == 16_000
    claims = tarfile.TarInfo("e.wav")
    claims.size = 2**40
    shard.write_bytes(shard.read_bytes().rstrip(b"\0") + bytes(512) + claims.tobuf())
    with suppress(Invalid):
        assert [item.id for item in judged(home, shard).items] == ["a"]


@pytest.mark.parametrize("name", ["all.tsv", "all.jsonl", "all.tmx", "all.csv", "all.mg"])
def test_pairs_that_are_a_link_to_another_file_are_not_there(folder: Path, tmp_path: Path, name: str) -> None:
    other = tmp_path / "texts"
    other.write_text("mg\tfr\nSalama\tBonjour\n")
    (folder / name).symlink_to(other)
    (folder / "all.fr").symlink_to(other)
    with pytest.raises(Invalid, match="there is no file"):
        load_pairs(Data(source=str(folder / name)))
    for end in ("mg", "fr"):
        (folder / f"train.{end}").symlink_to(other)
    with pytest.raises(Invalid, match="holds no pairs"):
        load_pairs(Data(source=str(folder)))


def test_a_table_of_a_terabyte_is_not_read(folder: Path) -> None:
    with (folder / "all.jsonl").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(MiloError, match="is the most that is read"):
        datasets.read(Data(source=str(folder / "all.jsonl")))
    with pytest.raises(MiloError, match="is the most that is read"):
        load_pairs(Data(source=str(folder / "all.jsonl")))


def crash(_file: object) -> None:
    os.abort()


def test_a_recording_that_kills_its_decoder_ends_its_own_row_alone(home: Settings, folder: Path) -> None:
    """Lengths are found, and audio is decoded, in another process than the trainer's."""
    source = _jsonl(folder, {"eny": "own.wav", "tsia": "two.wav"})
    speak(folder / "two.wav")
    found = judged(home, source)
    assert len(found.items) == 2
    decoder = found.items[0].decoder
    assert decoder is not None
    with found.items[0].open() as file, pytest.raises(MiloError, match="crashed"):
        decoder.run(f"{__name__}:crash", file, 60)
    assert len(found.items[0].audio()) == len(found.items[1].audio()) == 16_000
