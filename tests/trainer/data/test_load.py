"""Speech sets: every kind of source gives the same items, and a fault of the recipe names the field and the fix."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from milo.errors import Invalid, MiloError, ModelUnavailable
from milo.recipes import Data
from milo.settings import Settings
from milo.stack.ports import free_port
from tests.support.audio_factory import wav
from tests.support.hub_server import hub_server
from trainer.corpus import lexicon
from trainer.data import load as data
from trainer.data import synthetic_rows
from trainer.data.load import Dataset, load, load_all

TEXTS = ["Manao ahoana", "Roa amby folo", "Misaotra betsaka", "Veloma tompoko", "Aiza ny tsena", "Tsara fa misaotra"]


@pytest.fixture
def local(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", _env_file=None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six wav files of 1 s to 1.5 s, in a folder of their own."""
    place = tmp_path / "clips"
    place.mkdir()
    rng = np.random.default_rng(1)
    for number in range(len(TEXTS)):
        soundfile.write(place / f"{number}.wav", rng.standard_normal(16_000 + 1600 * number) * 0.1, 16_000)
    return place


def rows(folder: Path) -> list[dict[str, Any]]:
    return [{"audio": f"{n}.wav", "text": text, "speaker": f"s{n % 2}"} for n, text in enumerate(TEXTS)]


def write(folder: Path, kind: str) -> Path:
    """The same rows as a table of this kind."""
    path = folder / f"all.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows(folder)))
    elif kind == "parquet":
        import pyarrow
        import pyarrow.parquet

        audio = [{"bytes": (folder / row["audio"]).read_bytes(), "path": None} for row in rows(folder)]
        columns = {"audio": audio, "text": TEXTS, "speaker": [row["speaker"] for row in rows(folder)]}
        pyarrow.parquet.write_table(pyarrow.table(columns), path)
    else:
        mark = "\t" if kind == "tsv" else ","
        lines = [mark.join(row.values()) for row in rows(folder)]
        path.write_text("\n".join([mark.join(rows(folder)[0]), *lines]) + "\n")
    return path


def _dev() -> str:
    return json.dumps({"audio": "0.wav", "text": "hafa", "speaker": "x", "language": "mg", "split": "dev"}) + "\n"


def whole(settings: Settings, source: Path, **more: Any) -> list[Any]:
    made = load_all(settings, Data(source=str(source), **more), ("train", "validation"))
    items = [item for part in made.values() for item in part]
    return sorted(items, key=lambda item: item.text)


@pytest.mark.parametrize("kind", ["jsonl", "csv", "tsv", "parquet"])
def test_a_table_of_any_kind_gives_texts_speakers_lengths_and_audio(local: Settings, folder: Path, kind: str) -> None:
    items = whole(local, write(folder, kind))
    assert [item.text for item in items] == sorted(TEXTS)
    first = next(item for item in items if item.text == TEXTS[2])
    assert first.speaker == "s0" and first.duration_s == 1.2
    audio = first.audio()
    assert audio.dtype == np.float32 and audio.shape == (19_200,) and 0.05 < audio.std() < 0.2


def test_a_folder_of_audio_files_with_texts_beside_them_and_split_folders_is_a_data_set(
    local: Settings, folder: Path, tmp_path: Path
) -> None:
    for number, text in enumerate(TEXTS):
        place = tmp_path / "set" / ("train" if number < 4 else "test")
        place.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.wav").rename(place / f"{number}.wav")
        (place / f"{number}.txt").write_text(text + "\n")
    made = load_all(local, Data(source=str(tmp_path / "set")))
    assert [item.text for item in made["test"]] == TEXTS[4:]
    assert len(made["train"]) + len(made["validation"]) == 4 and len(made["validation"]) == 1


def test_metadata_beside_the_files_is_read_as_the_hub_writes_it(local: Settings, folder: Path) -> None:
    lines = ["file_name,transcription", *(f"{n}.wav,{text}" for n, text in enumerate(TEXTS))]
    (folder / "metadata.csv").write_text("\n".join(lines))
    items = whole(local, folder, columns={"text": "transcription"})
    assert [item.text for item in items] == sorted(TEXTS) and items[0].speaker is None


def test_a_hub_id_is_fetched_at_a_commit_and_read_without_decoding(local: Settings, folder: Path) -> None:
    content = write(folder, "parquet").read_bytes()
    with hub_server() as hub:
        commit = hub.add("some/speech", {"data/train-00000-of-00001.parquet": content, "README.md": b"# speech\n"})
        at_hub = local.model_copy(update={"hf_endpoint": hub.url})
        train = load(at_hub, Data(source="some/speech"), "train")
        hub.requests.clear()
        again = load(at_hub, Data(source="some/speech", revision=commit), "train")
        assert not hub.downloads()
        with pytest.raises(Invalid, match=r"the hub has no data set some/other"):
            load(at_hub, Data(source="some/other"), "train")
    assert len(train) == 5 and again.sha256 == train.sha256
    assert train[0].audio().shape == (round(train[0].duration_s * 16_000),)
    offline = local.model_copy(update={"offline": True})
    assert load(offline, Data(source="some/speech"), "train").sha256 == train.sha256


def test_a_column_that_is_absent_is_named_with_those_there_are_and_a_near_miss(local: Settings, folder: Path) -> None:
    for kind in ("csv", "jsonl", "parquet"):
        with pytest.raises(Invalid, match=r"columns\.text: .*no column 'texte'; its columns are audio, text, speaker"):
            load(local, Data(source=str(write(folder, kind)), columns={"text": "texte"}), "train")
    with pytest.raises(Invalid, match="Did you mean text"):
        load(local, Data(source=str(write(folder, "csv")), columns={"text": "texte"}), "train")


def test_a_split_that_is_absent_is_named_unless_it_is_the_default_one(local: Settings, folder: Path) -> None:
    path = write(folder, "jsonl")
    path.write_text("".join(json.dumps({**row, "split": "dev"}) + "\n" for row in rows(folder)))
    with pytest.raises(Invalid, match=r"splits\.train: .*has no split 'train'; it has dev"):
        load(local, Data(source=str(path)), "train")
    with pytest.raises(Invalid, match=r"splits\.validation: .*has no split 'valid'"):
        load(local, Data(source=str(path), splits={"train": "dev", "validation": "valid"}), "train")
    made = load_all(local, Data(source=str(path), splits={"train": "dev"}))
    assert made["test"].sha256 != made["train"].sha256
    assert [item.id for item in made["test"]] == [item.id for item in made["validation"]]


def test_the_share_kept_for_validation_is_the_same_each_time_and_shares_no_sentence(
    local: Settings, folder: Path
) -> None:
    path = write(folder, "jsonl")
    doubled = [{**row, "audio": row["audio"], "id": f"{row['audio']}-{n}"} for n in (0, 1) for row in rows(folder)]
    path.write_text("".join(json.dumps(row) + "\n" for row in doubled))
    made = load_all(local, Data(source=str(path), validation_share=0.3), ("train", "validation"))
    texts = {split: {item.text for item in part} for split, part in made.items()}
    assert len(texts["validation"]) == 2 and not texts["train"] & texts["validation"]
    again = load(local, Data(source=str(path), validation_share=0.3), "validation")
    assert again.sha256 == made["validation"].sha256


def test_what_is_dropped_is_counted_with_its_reason(local: Settings, folder: Path, tmp_path: Path) -> None:
    soundfile.write(folder / "short.wav", np.zeros(1600), 16_000)
    (folder / "broken.wav").write_bytes(b"no audio at all")
    extra = [("short.wav", "fohy"), ("broken.wav", "vaky"), ("absent.wav", "tsy eo"), ("0.wav", "!")]
    table = [{**row, "language": "mg"} for row in rows(folder)]
    table += [{"audio": name, "text": text, "speaker": "x", "language": "mg"} for name, text in extra]
    table += [{"audio": "1.wav", "text": "bonjour", "speaker": "x", "language": "fr"}]
    path = folder / "all.jsonl"
    path.write_text("".join(json.dumps({**row, "split": "train"}) + "\n" for row in table) + _dev())
    made = load(local, Data(source=str(path), splits={"validation": "dev"}), "train")
    document = made.document()
    reasons = {why: one["rows"] for why, one in document["dropped"].items()}
    assert reasons["without text"] == 1 and reasons["in fr, not mg"] == 1
    assert reasons["shorter than 0.3 s"] == 1 and reasons["with a missing audio file"] == 1
    assert sum(count for why, count in reasons.items() if why.startswith("with unreadable audio")) == 1
    assert document["items"] == len(made) and document["seconds"] == round(sum(i.duration_s for i in made), 3)
    data.write_document(tmp_path / "dataset.json", Data(source=str(path)), [made])
    written = json.loads((tmp_path / "dataset.json").read_text())
    assert "audio from" in written["read_as"] and "text from" in written["read_as"]
    assert written["splits"]["train"]["sha256"] == made.sha256


def test_a_split_with_nothing_left_says_why(local: Settings, folder: Path) -> None:
    with pytest.raises(Invalid, match=r"no usable row is left in the split train .* shorter than 10 s"):
        load(local, Data(source=str(write(folder, "csv")), min_audio_s=10), "train")


def test_the_hash_follows_the_texts_and_the_bytes_of_the_audio(local: Settings, folder: Path) -> None:
    path = write(folder, "jsonl")
    everything = Data(source=str(path), splits={"validation": None}, validation_share=0.01)
    before = load(local, everything, "train")
    assert load(local, everything, "train").sha256 == before.sha256
    changed = next(iter(before)).id
    soundfile.write(folder / changed, np.random.default_rng(9).standard_normal(20_000) * 0.1, 16_000)
    assert load(local, everything, "train").sha256 != before.sha256


def test_audio_that_is_gone_names_its_item(local: Settings, folder: Path) -> None:
    made = load(local, Data(source=str(write(folder, "csv"))), "train")
    (folder / made[0].id).unlink()
    with pytest.raises(MiloError, match=f"the audio of {made[0].id} can't be read"):
        made[0].audio()


@pytest.mark.parametrize(
    ("source", "said"),
    [("clip", r"there is no .*clip; .* Did you mean clips"), ("clips/0.wav", r"is not one of .jsonl, .json, .csv")],
)
def test_a_source_that_is_not_there_or_no_table_is_refused(
    local: Settings, folder: Path, tmp_path: Path, source: str, said: str
) -> None:
    with pytest.raises(Invalid, match=said):
        load(local, Data(source=str(tmp_path / source)), "train")


def test_the_synthetic_set_is_the_same_in_every_home_and_teaches_words_the_phrasebook_lacks(tmp_path: Path) -> None:
    wanted = Data(source="synthetic", synthetic={"count": {"train": 6, "validation": 2}, "speakers": 2, "seed": 3})
    made: list[dict[str, Dataset]] = []
    for name in ("one", "two"):
        made.append(load_all(Settings(home=tmp_path / name, _env_file=None), wanted, ("train", "validation")))
    assert made[0]["train"].sha256 == made[1]["train"].sha256
    assert np.array_equal(made[0]["train"][0].audio(), made[1]["train"][0].audio())
    texts = [item.text for part in made[0].values() for item in part]
    assert len(set(texts)) == 8
    known = {word for words in lexicon.WORDS["mg"].values() for entry in words for word in entry.split()}
    known |= {word for patterns in lexicon.PATTERNS["mg"].values() for one in patterns for word in one.split()}
    for name, words in synthetic_rows.WORDS.items():
        assert not set(words) & known, name
        assert len(set(words)) == len(words), name


def test_a_wrong_option_of_the_synthetic_set_names_its_field(local: Settings) -> None:
    with pytest.raises(Invalid, match=r"synthetic\.wrods: .*the fields are seed, count, voices, speakers, words"):
        load(local, Data(source="synthetic", synthetic={"wrods": "nature"}), "train")
    with pytest.raises(Invalid, match=r"one of nature, work.* Did you mean nature"):
        load(local, Data(source="synthetic", synthetic={"words": "natura"}), "train")


def _table(folder: Path, name: str, content: str) -> Data:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return Data(source=str(folder / name), splits={"validation": None}, validation_share=0.01)


def _test_split(table: list[dict[str, Any]]) -> str:
    return "".join(json.dumps({**row, "split": "test"}) + "\n" for row in table)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "audio,text\n0.wav,Eny, tompoko\n", r"line 2, has more cells than the 2 of the header.*in quotes"),
        ("a.csv", 'audio,text\n0.wav,Eny\n1.wav,"Tsia\n2.wav,Veloma\n', "line 3, can't be read.*Close the quote"),
        (
            "a.tsv",
            'audio\ttext\n0.wav\tEny\n1.wav\t"Tsia\nmihitsy\n2.wav\tVeloma\n',
            "line 3: a cell opens with a quote",
        ),
        ("a.csv", "text,audio\n0.wav," + "lava " * 100 + "\n", "columns.audio.*line 2: 'audio' is 'lava lava"),
        (
            "a.csv",
            "audio,text,split\n0.wav,Eny,train\n1.wav,Tsia,\n",
            "1 rows of a.csv, such as 1.wav, are in no split",
        ),
    ],
)
def test_a_row_that_would_get_a_wrong_text_or_be_lost_is_named(
    local: Settings, folder: Path, name: str, content: str, said: str
) -> None:
    with pytest.raises(Invalid, match=said):
        load(local, _table(folder, name, content), "train")


@pytest.mark.parametrize("name", ["a.csv", "1.txt"])
def test_a_text_file_that_is_not_utf8_says_what_to_do(local: Settings, folder: Path, name: str) -> None:
    (folder / name).write_bytes("audio,text\n0.wav,voalòhany\n".encode("cp1252"))
    source = folder / name if name.endswith(".csv") else folder
    with pytest.raises(Invalid, match=f"{name} is not UTF-8.*Save the file as UTF-8"):
        load(local, Data(source=str(source)), "train")


def test_what_windows_writes_is_read_as_what_is_meant(local: Settings, folder: Path) -> None:
    lines = ["audio;text", "0.wav;Eny, tompoko", '1.wav;"Tsia\r\nmihitsy"', "2.wav;Veloma;"]
    items = whole(local, Path(_table(folder, "a.csv", "\ufeff" + "\r\n".join(lines) + "\r\n").source))
    assert [item.text for item in items] == ["Eny, tompoko", "Tsia mihitsy", "Veloma"]
    for name in ("0.txt", "1.txt"):
        (folder / name).write_bytes(f"\ufeffteny {name[0]}\r\n".encode())
    (folder / "a.csv").unlink()
    assert [item.text for item in whole(local, folder)] == ["teny 0", "teny 1"]


def test_a_row_without_a_field_or_with_no_single_text_is_left_out(local: Settings, folder: Path) -> None:
    table = [*rows(folder), {"text": "tsy misy"}, {"audio": "0.wav"}, {"audio": "1.wav", "text": float("nan")}]
    table += [{"audio": "2.wav", "text": {"mg": "Veloma"}}]
    made = load(local, _table(folder, "a.jsonl", _test_split(table)), "test")
    assert {why: len(ids) for why, ids in made.dropped.items()} == {"without text": 3, "with a missing audio file": 1}


@pytest.mark.parametrize("kind", ["flac", "mp3", "wav"])
def test_a_recording_that_was_not_copied_whole_is_left_out(local: Settings, folder: Path, kind: str) -> None:
    path = folder / f"long.{kind}"
    soundfile.write(path, np.random.default_rng(3).standard_normal(16_000 * 6) * 0.1, 16_000)
    table = _test_split([*rows(folder), {"audio": path.name, "text": "lava be"}])
    whole_file = load(local, _table(folder, "a.jsonl", table), "test")
    assert not whole_file.dropped and any(item.id == path.name for item in whole_file)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    dropped = load(local, _table(folder, "a.jsonl", table), "test").dropped
    assert dropped == {"with unreadable audio (cut off)": [path.name]}


@pytest.mark.parametrize("off_bytes", [44, -44, -150_000])
def test_a_wav_whose_header_claims_another_length_is_trained_on_as_long_as_it_is(
    local: Settings, folder: Path, off_bytes: int
) -> None:
    samples = np.random.default_rng(3).integers(-3000, 3000, 16_000 * 6, dtype=np.int16)
    (folder / "long.wav").write_bytes(wav(samples.tobytes(), claim_bytes=samples.nbytes + off_bytes))
    table = _test_split([*rows(folder), {"audio": "long.wav", "text": "lava be"}])
    made = load(local, _table(folder, "a.jsonl", table), "test")
    again = load(local, _table(folder, "a.jsonl", table), "test")
    for one in (made, again):  # measured, and remembered
        assert not one.dropped
        item = next(item for item in one if item.id == "long.wav")
        assert item.duration_s == 6.0 and np.array_equal(item.audio() * 32768, samples)
        assert one.document()["wrong_length"] == {"rows": 1, "such_as": ["long.wav"]}


def test_recordings_that_were_joined_are_as_long_as_all_of_them(local: Settings, folder: Path) -> None:
    soundfile.write(folder / "a.flac", np.zeros(32_000), 16_000)
    soundfile.write(folder / "b.flac", np.zeros(44_100), 44_100)
    (folder / "long.flac").write_bytes((folder / "a.flac").read_bytes() + (folder / "b.flac").read_bytes())
    table = _test_split([*rows(folder), {"audio": "long.flac", "text": "lava be"}])
    item = next(one for one in load(local, _table(folder, "a.jsonl", table), "test") if one.id == "long.flac")
    assert item.duration_s == 3.0 and len(item.audio()) == 48_000


def test_folders_called_like_the_splits_hold_them_wherever_the_metadata_lies(local: Settings, folder: Path) -> None:
    places = ["train", "train", "train", "test", "test", "test"]
    for number, split in enumerate(places):
        (folder / split).mkdir(exist_ok=True)
        (folder / f"{number}.wav").rename(folder / split / f"{number}.wav")
    lines = [f"{split}/{number}.wav,{TEXTS[number]}" for number, split in enumerate(places)]
    (folder / "metadata.csv").write_text("file_name,text\n" + "\n".join(lines))
    assert [item.text for item in load(local, Data(source=str(folder)), "test")] == TEXTS[3:]
    (folder / "metadata.csv").unlink()
    for split in ("train", "test"):
        own = [line.partition("/")[2] + f",{split}\n" for line in lines if line.startswith(split)]
        (folder / split / "metadata.csv").write_text("file_name,text,split\n" + "".join(own))
    assert [item.text for item in load(local, Data(source=str(folder)), "test")] == TEXTS[3:]


@pytest.mark.parametrize("with_splits", [False, True])
def test_what_save_to_disk_wrote_is_read(local: Settings, folder: Path, tmp_path: Path, with_splits: bool) -> None:
    from datasets import Dataset as Table
    from datasets import DatasetDict

    sounds = [{"bytes": (folder / row["audio"]).read_bytes(), "path": None} for row in rows(folder)]
    table = Table.from_dict({"audio": sounds, "sentence": TEXTS})
    saved = DatasetDict({"train": table.select(range(4)), "test": table.select([4, 5])}) if with_splits else table
    saved.save_to_disk(tmp_path / "disk")
    assert [item.text for item in whole(local, tmp_path / "disk")] == sorted(TEXTS[:4] if with_splits else TEXTS)
    if with_splits:
        assert [item.text for item in load(local, Data(source=str(tmp_path / "disk")), "test")] == TEXTS[4:]


def test_splits_that_share_a_recording_are_refused_by_its_bytes(local: Settings, folder: Path) -> None:
    path = folder / "all.parquet"
    write(folder, "parquet").rename(folder / "train.parquet")
    import pyarrow
    import pyarrow.parquet

    again = [{"bytes": (folder / "0.wav").read_bytes(), "path": None}]
    pyarrow.parquet.write_table(
        pyarrow.table({"audio": again, "text": ["teny hafa"], "speaker": ["s9"]}), folder / "validation.parquet"
    )
    assert not path.exists()
    with pytest.raises(Invalid, match="1 of validation share their audio with train.*shared_audio: true"):
        load_all(local, Data(source=str(folder)), ("train", "validation"))
    assert load_all(local, Data(source=str(folder), shared_audio=True), ("train", "validation"))


def test_a_hub_that_does_not_answer_is_named(local: Settings) -> None:
    nowhere = local.model_copy(update={"hf_endpoint": f"http://127.0.0.1:{free_port()}"})
    with pytest.raises(ModelUnavailable, match="the data set some/set can't be fetched from http://127.0.0.1"):
        load(nowhere, Data(source="some/set"), "train")


def test_a_hub_set_of_audio_files_with_metadata_is_read_and_a_wrong_revision_is_named(
    local: Settings, folder: Path
) -> None:
    files = {f"train/{path.name}": path.read_bytes() for path in folder.glob("*.wav")}
    table = "file_name,text\n" + "".join(f"{row['audio']},{row['text']}\n" for row in rows(folder))
    with hub_server() as hub:
        hub.add("me/clips", {**files, "train/metadata.csv": table.encode()})
        there = local.model_copy(update={"hf_endpoint": hub.url})
        made = load_all(there, Data(source="me/clips"), ("train", "validation"))
        assert sorted(item.text for part in made.values() for item in part) == sorted(TEXTS)
        with pytest.raises(Invalid, match="data.revision: me/clips has no branch, tag or commit 'v2'"):
            load(there, Data(source="me/clips", revision="v2"), "train")


def test_of_two_columns_of_audio_the_one_that_was_asked_for_is_heard(local: Settings, folder: Path) -> None:
    from datasets import Audio
    from datasets import Dataset as Table

    sounds = [{"bytes": (folder / row["audio"]).read_bytes(), "path": None} for row in rows(folder)]
    table = Table.from_dict({"near": sounds, "far": sounds[::-1], "text": TEXTS, "split": ["test"] * len(TEXTS)})
    table.cast_column("near", Audio()).cast_column("far", Audio()).to_parquet(folder / "test.parquet")
    near, far = (
        load(local, Data(source=str(folder / "test.parquet"), columns={"audio": name}), "validation")
        for name in ("near", "far")
    )
    assert near.sha256 != far.sha256 and near[0].duration_s != far[0].duration_s
    assert len(far[0].audio()) / 16_000 == pytest.approx(far[0].duration_s)
