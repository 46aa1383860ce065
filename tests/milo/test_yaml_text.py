"""YAML of strangers: the values of YAML 1.1 that JSON has, and nothing that makes a short text dear."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest
import yaml

from milo import yaml_text

K = 60 * 1024
PLAIN = """
a: 1
b: -1_000
c: 0x1F
d: 010
e: 1.5
f: 1.0e-5
g: .inf
h: yes
i: OFF
j: ~
k:
l: text
m: "1"
n: 'yes'
o: [1, {p: q}, []]
r: {}
s:
  - t
  - u: |
      two
      lines
1: one
v: 1e-5
w: 08
x: -0b11
"""


def test_plain_values_are_what_pyyaml_says() -> None:
    wanted = yaml.safe_load(PLAIN)
    assert yaml_text.load(PLAIN) == wanted
    assert yaml_text.load("<<: 1") == {"<<": 1}
    for recipe in Path("docs/recipes").glob("*.yaml"):
        assert yaml_text.load(recipe.read_text()) == yaml.safe_load(recipe.read_text())


def test_times_and_dates_are_texts_as_they_stand() -> None:
    assert yaml_text.load("a: 12:30:45\nb: 2024-01-01\nc: 1:1.5") == {"a": "12:30:45", "b": "2024-01-01", "c": "1:1.5"}


@pytest.mark.parametrize(
    "text",
    [
        *("a: &x 1\nb: *x", "a: &x 1", "a: !!int '1:1'", "a: !x b", "[" * K, "{a: " * (K // 4), "- " * (K // 2)),
        *("[" + "1," * (K // 2) + "]", "a: " + "x" * (2 * K), "? [a]\n: b", "a: [", "--- a\n--- b", "a: \x9b"),
    ],
)
def test_what_costs_more_than_a_recipe_may_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(ValueError) as refused:
        yaml_text.load(text)
    assert len(str(refused.value)) < 300


def test_long_numbers_stay_texts_and_are_never_computed() -> None:
    for number in ("1:" * (K // 2) + "1", "1" * K, "1" + "_" * K, "1." + "_" * K, "0x" + "f" * K):
        assert yaml_text.load(f"a: {number}") == {"a": number}


def test_without_libyaml_it_says_the_same() -> None:
    with mock.patch.object(yaml_text, "_PARSER", yaml.SafeLoader):
        assert yaml_text.load(PLAIN) == yaml.safe_load(PLAIN)
