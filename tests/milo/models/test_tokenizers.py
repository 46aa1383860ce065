"""What a tokenizer's file asks for is looked at before a library does it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from milo.errors import ModelUnavailable
from milo.models.store import embedded_path
from milo.models.tokenizers import check_pieces, check_vocabulary, read_tokenizer_json, repeats_of_repeats


@pytest.mark.parametrize("name", ["milo-tiny-mg", "milo-tiny-nllb"])
def test_the_embedded_tokenizers_pass(name: str) -> None:
    folder = embedded_path(name)
    assert folder and read_tokenizer_json(folder / "tokenizer.json")["model"]


def replace(pattern: dict[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


@pytest.mark.parametrize(
    "document",
    [
        {"normalizer": {"type": "Sequence", "normalizers": [replace({"String": "a"}, "aa")] * 40}},
        {"normalizer": {"type": "Prepend", "prepend": "x" * 1000}},
        {"decoder": {"type": "Sequence", "decoders": [replace({"String": "a"}, "a" * 100)]}},
        {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a+)+$"}}},
        {"pre_tokenizer": {"pretokenizers": [{"type": "Split", "pattern": {"Regex": "a" * 2000}}]}},
        {"added_tokens": [{"id": n, "content": str(n)} for n in range(100_001)]},
    ],
    ids=lambda document: next(iter(document)),
)
def test_what_grows_or_may_take_for_ever_is_refused(document: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ModelUnavailable, match=r"tokenizer\.json"):
        read_tokenizer_json(path)


GPT_4 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
GPT_4 += r"\s*[\r\n]+|\s+(?!\S)|\s+"


@pytest.mark.parametrize(
    "expression", [" {2,}", GPT_4, r"'s|'t| ?\p{L}+|\s+(?!\S)|\s+", r"(abc)+", r"[(a+)+]*", r"\(a+\)+"]
)
def test_expressions_that_go_straight_on_pass(expression: str) -> None:
    assert not repeats_of_repeats(expression)


@pytest.mark.parametrize(
    "expression", ["(a+)+", "(a|a)*", "((a*)b)+", "(?:a{1,9}){9,}", "(x+x+)+y", r"(a)\1", "([^)]*)*"]
)
def test_expressions_that_may_go_back_and_forth_are_found(expression: str) -> None:
    assert repeats_of_repeats(expression)


def test_a_vocabulary_of_monsters_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="longest of 10000000"):
        check_vocabulary(tmp_path, ["a", "a" * 10_000_000])
    huge = tmp_path / "sentencepiece.bpe.model"
    with huge.open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(ModelUnavailable, match="not a vocabulary"):
        check_pieces(huge)
