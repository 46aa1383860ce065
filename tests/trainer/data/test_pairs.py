"""A user's own pairs: files, splits, scores."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from milo.errors import Invalid
from milo.recipes import Data
from milo.training import datasets
from milo.training.data.pairs import TextPair, is_heldout, load_pairs, pair_splits, read_pairs, split_pairs
from trainer.evaluation.chrf import chrf


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_tsv_and_jsonl_say_the_same(tmp_path: Path) -> None:
    tsv = _write(tmp_path / "a.tsv", "\ufeffmg\tfr\r\nSalama  e\tSalut\r\n\r\nVeloma\tAu revoir\nVeloma\tAu revoir\n")
    jsonl = _write(tmp_path / "a.jsonl", '{"mg": "Salama e", "fr": "Salut"}\n\n{"mg": "Veloma", "fr": "Au revoir"}')
    expected = [TextPair(("mg", "fr"), ("Salama e", "Salut")), TextPair(("mg", "fr"), ("Veloma", "Au revoir"))]
    assert read_pairs(tsv) == read_pairs(jsonl) == expected


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.tsv", "mg\tfr\nSalama\tSalut\nVeloma\n", "line 3: no tab.*'Veloma'"),
        ("a.tsv", "mg\tfr\nSalama\tSalut\t\n", "line 2: 2 tabs"),
        ("a.tsv", "mg\tfr\nSalama\t \n", "line 2: the text in fr is empty"),
        ("a.tsv", "Salama tompoko\tBonjour monsieur\n", "line 1: the first line must name two languages"),
        ("a.tsv", "mg\tmg\n", "line 1: the first line must name two languages"),
        ("a.tsv", "mg\tfr\n" + "a" * 2001 + "\tb\n", "line 2: the text in mg has 2001 characters"),
        ("a.jsonl", '{"mg": "Salama", "fr": "Salut"}\n{"mg": "Salama"\n', "line 2: no JSON"),
        ("a.jsonl", '{"mg": "Salama"}\n', "line 1: a line must have two texts"),
        ("a.jsonl", '{"mg": "Salama", "fr": 3}\n', "line 1: a line must have two texts"),
        ("a.jsonl", "[]\n", "line 1: a line must have two texts"),
        ("a.tsv", "mg\tfr\n", "no pairs"),
        ("a.csv", "mg,fr\n", "neither .csv, .tsv nor .jsonl"),
    ],
)
def test_a_line_that_is_wrong_is_named_with_the_cure(tmp_path: Path, name: str, content: str, words: str) -> None:
    with pytest.raises(Invalid, match=words) as error:
        read_pairs(_write(tmp_path / name, content))
    assert error.value.code == "bad_pairs"


def test_a_file_that_is_not_utf8_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes("mg\tfr\nSalama\tSalut\nTsara\tété\n".encode("latin-1"))
    with pytest.raises(Invalid, match="line 3: not UTF-8"):
        read_pairs(tmp_path / "a.tsv")
    with pytest.raises(Invalid, match="there is no file"):
        read_pairs(tmp_path / "b.tsv")


def _pairs(count: int) -> list[TextPair]:
    return [TextPair(("mg", "fr"), (f"teny {n}", f"mot {n}")) for n in range(count)]


def test_what_is_held_out_does_not_depend_on_the_rest_of_the_file() -> None:
    pairs = _pairs(400)
    train, heldout = split_pairs(pairs)
    assert 8 <= len(heldout) <= 40 and not set(train) & set(heldout)
    assert set(split_pairs(pairs[:200])[1]) == set(heldout) & set(pairs[:200])


def test_a_sentence_that_is_trained_on_is_never_held_out() -> None:
    pairs = _pairs(400)
    chosen = next(pair for pair in pairs if is_heldout(pair))
    other = next(
        pair for n in range(100) if not is_heldout(pair := TextPair(("mg", "fr"), (chosen.texts[0], f"autre mot {n}")))
    )
    train, heldout = split_pairs([*pairs, other])
    assert other in train and chosen not in heldout


def test_a_few_pairs_still_leave_one_to_measure_with() -> None:
    train, heldout = split_pairs(_pairs(4))
    assert len(train) + len(heldout) == 4 and heldout
    with pytest.raises(Invalid, match="too few"):
        split_pairs(_pairs(3))


def test_chrf_is_100_for_the_same_text_and_less_for_another() -> None:
    assert chrf(["au revoir", "salut"], ["au revoir", "salut"]) == 100
    assert chrf(["au revoir"], ["bonjour"]) < 30


@pytest.mark.parametrize("name", ["a.tsv", "a.jsonl"])
def test_columns_named_by_the_languages_may_have_others_beside_them(tmp_path: Path, name: str) -> None:
    content = "id\tmg\tfr\n1\tSalama\tSalut\n" if name == "a.tsv" else '{"id": 1, "mg": "Salama", "fr": "Salut"}\n'
    data = Data(source=str(_write(tmp_path / name, content)))
    assert load_pairs(data) == [TextPair(("mg", "fr"), ("Salama", "Salut"))]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", "source,target\nSalama,Salut\n\n\nVeloma,\n", "line 5: the text in fr is empty"),
        ("a.csv", 'source,target\n"Salama\ne",Salut\nVeloma\n', "line 4: the text in fr is empty"),
        ("a.csv", "source,target\nEny, tompoko,Oui\n", "line 2, has more cells than the 2 of the header"),
        ("a.csv", "source,target\n", "has no rows"),
        (
            "a.jsonl",
            '{"source": "Salama", "target": "Salut"}\n{"source": "Veloma"}\n',
            "line 2: the text in fr is empty",
        ),
        ("a.tsv", "id\tsource\ttarget\n1\tSalama\tSalut\n\n2\t\tOui\n", "line 4: the text in mg is empty"),
    ],
)
def test_a_table_with_columns_names_the_line_that_is_wrong(tmp_path: Path, name: str, content: str, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        load_pairs(Data(source=str(_write(tmp_path / name, content))))


def _table_of(splits: dict[str, int], inner: bool = False) -> str:
    lines = []
    for split, count in splits.items():
        for number in range(count):
            pair = {"mg": f"teny {split} {number}", "fr": f"mot {split} {number}"}
            row = {"translation": pair} if inner else pair
            lines.append(json.dumps({**row, **({"split": split} if split else {})}))
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("inner", [False, True])
def test_the_splits_of_a_table_of_pairs_are_kept_and_the_test_split_is_not_trained_on(
    tmp_path: Path, inner: bool
) -> None:
    path = _write(tmp_path / "a.jsonl", _table_of({"train": 6, "dev": 2, "test": 3}, inner))
    splits = pair_splits(Data(source=str(path)))
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [6, 2, 3]
    assert all("train" in pair.texts[0] for pair in splits.train)
    named = pair_splits(Data(source=str(path), splits={"train": "dev", "validation": "test", "test": None}))
    assert [len(part) for part in (named.train, named.validation, named.test)] == [2, 3, 3]
    with pytest.raises(Invalid, match="has no split 'tests'"):
        pair_splits(Data(source=str(path), splits={"test": "tests"}))


def test_a_pair_that_is_also_in_the_test_split_is_not_trained_on(tmp_path: Path) -> None:
    content = _table_of({"train": 6, "test": 2}) + json.dumps(
        {"mg": "teny test 0", "fr": "mot test 0", "split": "train"}
    )
    splits = pair_splits(Data(source=str(_write(tmp_path / "a.jsonl", content))))
    assert not set(splits.test) & set(splits.train) and len(splits.train) + len(splits.validation) == 6


def test_the_share_of_pairs_held_out_is_the_recipe_s(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.jsonl", _table_of({"": 1000}))
    counts = [len(pair_splits(Data(source=str(path), validation_share=share)).validation) for share in (0.05, 0.3)]
    assert 30 <= counts[0] <= 70 and 260 <= counts[1] <= 340


TMX = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE tmx SYSTEM "tmx14.dtd">
<tmx version="1.4"><header srclang="mg"/><body>
<tu><tuv xml:lang="mg-MG"><seg>Salama <bpt i="1"/>tompoko</seg></tuv><tuv xml:lang="FR"><seg>Bonjour</seg></tuv></tu>
<tu><tuv xml:lang="mg"><seg>Veloma</seg></tuv><tuv xml:lang="en"><seg>Goodbye</seg></tuv></tu>
</body></tmx>"""


def test_tmx_gives_the_units_that_have_both_languages(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.tmx", TMX)
    assert load_pairs(Data(source=str(path))) == [TextPair(("mg", "fr"), ("Salama tompoko", "Bonjour"))]
    with pytest.raises(Invalid, match="no unit in mg and de; it has en, fr, mg"):
        load_pairs(Data(source=str(path), target_language="de"))


def test_two_files_of_moses_are_pairs_line_by_line(tmp_path: Path) -> None:
    for name, count in (("train", 5), ("dev", 2), ("test", 2)):
        for language in ("mg", "fr"):
            lines = [f"{language} {name} {number}" for number in range(count)]
            _write(tmp_path / f"{name}.{language}", "\n".join(lines) + "\n")
    splits = pair_splits(Data(source=str(tmp_path)))
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [5, 2, 2]
    for name in ("train", "train.mg", "train.fr"):
        assert load_pairs(Data(source=str(tmp_path / name)))[4].texts == ("mg train 4", "fr train 4")
    _write(tmp_path / "train.fr", "tokana\n")
    with pytest.raises(Invalid, match=r"train.mg has 5 lines and .*train.fr 1"):
        pair_splits(Data(source=str(tmp_path)))


def test_pairs_that_can_t_be_used_are_refused_before_they_are_queued(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.tsv", "mg\tfr\nSalama\tSalut\nVeloma\n")
    with pytest.raises(Invalid, match="line 3: no tab"):
        datasets.check(Data(source=str(path)), "nllb", to_train=True)
