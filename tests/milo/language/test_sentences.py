"""Sentences and what stands between them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milo.language import sentences


def _sentences(text: str) -> list[str]:
    return [part.text for part in sentences.split(text) if part.is_sentence]


@given(st.text(alphabet="aBé .!?…\n\r\t-•1)\"'«“”»M。；", max_size=80))
def test_the_parts_joined_are_the_text(text: str) -> None:
    assert "".join(part.text for part in sentences.split(text)) == text


@given(st.text(alphabet="ab ,;\n", min_size=2, max_size=60))
def test_both_halves_are_shorter_and_joined_they_are_the_sentence(text: str) -> None:
    first, second = sentences.halves(text)
    assert first + second == text and first and second


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Salama. Veloma!", ["Salama.", "Veloma!"]),
        ("M. Rakoto est là. Il va bien.", ["M. Rakoto est là.", "Il va bien."]),
        ("Avy any J. Rabe izy. Eny.", ["Avy any J. Rabe izy.", "Eny."]),
        ("Il coûte 3.50 euros. Oui.", ["Il coûte 3.50 euros.", "Oui."]),
        ("Euh... bon. D'accord.", ["Euh... bon.", "D'accord."]),
        ("« Bonjour ! » Il part.", ["Bonjour !", "Il part."]),
        ("« Bonjour ! »", ["Bonjour !"]),
        ("«Eny». Salama", ["Eny", "Salama"]),
        ('"Aiza ny tsena?"', ["Aiza ny tsena?"]),
        ("“Eny” hoy izy “fa tsia”", ["“Eny” hoy izy “fa tsia”"]),
        ("1. Salama\n2. Veloma", ["Salama", "Veloma"]),
        ("你好。再见。", ["你好。", "再见。"]),
        ("", []),
        (" \n ", []),
        ("12:30. 5 %", []),
    ],
)
def test_sentences_end_where_a_reader_would_say(text: str, expected: list[str]) -> None:
    assert _sentences(text) == expected


def test_a_long_sentence_is_cut_at_a_comma_near_its_middle() -> None:
    assert sentences.halves("mividy vary sy hena aho, mivarotra trondro izy") == (
        "mividy vary sy hena aho, ",
        "mivarotra trondro izy",
    )


@pytest.mark.parametrize(
    ("text", "spaced"),
    [
        ("Firy ny vary?Aiza no misy azy?", "Firy ny vary? Aiza no misy azy?"),
        ("Bonjour!Ça va…Oui", "Bonjour! Ça va… Oui"),
        ("Tonga izy.Lasa izy.", "Tonga izy. Lasa izy."),
        ("Wait...What?\nSalama!Eny", "Wait... What?\nSalama! Eny"),
        ("Vary?«Eny!»Hoy izy", "Vary? «Eny!» Hoy izy"),
    ],
)
def test_sentences_without_a_blank_between_them_are_two(text: str, spaced: str) -> None:
    parts = sentences.split(text)
    assert "".join(part.text for part in parts) == text
    assert len([part for part in parts if part.is_sentence]) >= 2
    assert sentences.spaced(text) == spaced
    assert sentences.spaced(spaced) == spaced


@pytest.mark.parametrize(
    "text",
    [
        "Jereo ny https://x.mg/a?B=1 azafady.",
        "Node.Js sy ASP.NET v2.0",
        "U.S.A. est",
        "e.g.This one",
        "Ny Report.Doc sy www.Milo.mg",
        "A.B.C",
        "rakoto@milo.Mg",
        "p.ex.Izao ny izy",
        "你好。谢谢。",
    ],
)
def test_a_mark_inside_a_name_or_an_address_ends_no_sentence(text: str) -> None:
    assert sentences.spaced(text) == text
