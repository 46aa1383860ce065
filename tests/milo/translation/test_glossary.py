"""Fixed expressions: files, matching, what is kept of the source."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from milo.errors import Invalid, ModelUnavailable
from milo.translation.glossary import Glossary, Piece, current_glossary, read_glossary

MG, FR, EN = "plt_Latn", "fra_Latn", "eng_Latn"
WORDS = Glossary(
    [
        {MG: ("manao ahoana daholo", "salama daholo"), FR: ("bonjour à tous",), EN: ("hello everyone",)},
        {MG: ("tsy azoko",), FR: ("je ne comprends pas", "je comprends pas")},
        {MG: ("Salama tompoko. Manao ahoana ianao?",), FR: ("Bonjour, comment allez-vous ?",)},
        {MG: ("Salama tompoko",), FR: ("Bonjour monsieur",)},
    ]
)


@pytest.mark.parametrize(
    ("text", "source", "target", "expected"),
    [
        ("Manao ahoana daholo", MG, FR, "Bonjour à tous"),
        ("  MANAO   AHOANA daholo !!", MG, FR, "Bonjour à tous !!"),
        ("salama daholo?", MG, EN, "hello everyone?"),
        ("Bonjour à tous.", FR, MG, "Manao ahoana daholo."),
        ("Je comprends pas", FR, MG, "Tsy azoko"),
        ("Manao ahoana daholo Rabe", MG, FR, None),
        ("tsy azoko", MG, EN, None),
    ],
)
def test_an_expression_is_found_whatever_its_case_and_punctuation(
    text: str, source: str, target: str, expected: str | None
) -> None:
    assert WORDS.find(text, source, target) == expected


def test_an_apostrophe_of_any_kind_is_the_same() -> None:
    words = Glossary([{MG: ("ambin'ny folo",), FR: ("onze",)}])
    assert words.find("Ambin’ny folo", MG, FR) == "Onze"


def test_the_longest_run_of_sentences_wins() -> None:
    text = "Salama tompoko. Manao ahoana ianao? Veloma.\nSalama tompoko. Tsy azoko!"
    assert WORDS.cut(text, MG, FR) == [
        Piece("Bonjour, comment allez-vous ?", True),
        Piece(" Veloma.\n", False),
        Piece("Bonjour monsieur.", True),
        Piece(" ", False),
        Piece("Je ne comprends pas !", True),
    ]


def test_a_text_without_expressions_stays_whole() -> None:
    text = "Avy any Toliara aho. Veloma.\n"
    assert WORDS.cut(text, MG, FR) == [Piece(text, False)]
    assert Glossary().cut(text, MG, FR) == [Piece(text, False)]


def test_a_thousand_short_sentences_are_cut_at_once() -> None:
    text = "A bc. " * 1000 + "Tsy azoko."
    assert WORDS.cut(text, MG, FR)[-1] == Piece("Je ne comprends pas.", True)


def test_the_version_follows_the_content() -> None:
    assert Glossary().version == ""
    assert Glossary([{MG: ("a",), FR: ("b",)}]).version != Glossary([{MG: ("a",), FR: ("c",)}]).version


def test_tsv_and_yaml_say_the_same(tmp_path: Path) -> None:
    tsv, yaml = tmp_path / "a.tsv", tmp_path / "a.yaml"
    tsv.write_text("\ufeff# ours\nmg\tfr\ten\r\nveloma | veloma e\tau revoir\t\n\n", encoding="utf-8")
    yaml.write_text("- mg: [veloma, veloma e]\n  fr: au revoir\n", encoding="utf-8")
    assert read_glossary(tsv).version == read_glossary(yaml).version
    assert read_glossary(tsv).find("Veloma e!", MG, FR) == "Au revoir !"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.tsv", "mg\tfr\nveloma\n", "line 2: 1 columns instead of 2"),
        ("a.tsv", "mg\nveloma\n", "line 1: the first line must name the languages"),
        ("a.tsv", "mg\tklingon\nveloma\tx\n", "line 1: 'klingon' is no language code"),
        ("a.tsv", "mg\tplt\nveloma\tx\n", "line 1: a language stands there twice"),
        ("a.tsv", "mg\tfr\nveloma\t\n", "line 2: an expression needs a text in two languages"),
        ("a.tsv", "mg\tfr\n...\tx\n", "line 2: '...' has no letter"),
        ("a.yaml", "- mg: [\n", "no YAML"),
        ("a.yaml", "mg: veloma\n", "a list is needed"),
        ("a.yaml", "- veloma\n", "item 1: an item must be a mapping"),
        ("a.yaml", "- {mg: 12, fr: douze}\n", "item 1: mg must be a text"),
        ("a.txt", "mg\tfr\n", "neither .tsv nor .yaml"),
    ],
)
def test_a_line_that_is_wrong_is_named(tmp_path: Path, name: str, content: str, words: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(Invalid, match=words) as error:
        read_glossary(tmp_path / name)
    assert error.value.code == "bad_glossary"


def test_a_file_that_is_not_there_or_not_utf8_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="can't be read.*MILO_TRANSLATE_GLOSSARY"):
        current_glossary(tmp_path / "none.tsv")
    (tmp_path / "a.tsv").write_bytes(b"mg\tfr\nveloma\t\xe9\n")
    with pytest.raises(Invalid, match="UTF-8"):
        read_glossary(tmp_path / "a.tsv")


def test_a_changed_file_is_read_again_and_a_broken_one_leaves_the_last_good_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.tsv"
    for number, (content, expected) in enumerate(
        [
            ("mg\tfr\nveloma\tau revoir\n", "au revoir"),
            ("mg\tfr\nveloma\tadieu\n", "adieu"),
            ("mg\tfr\nveloma", "adieu"),
        ]
    ):
        path.write_text(content, encoding="utf-8")
        os.utime(path, ns=(number, number))
        with caplog.at_level(logging.ERROR):
            assert current_glossary(path).find("veloma", MG, FR) == expected
    assert "last good version" in caplog.text
