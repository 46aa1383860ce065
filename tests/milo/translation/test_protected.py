"""What a translation may not change survives with any model: one that copies, one that spoils, one that drops."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pytest

from milo.translation.glossary import Glossary
from milo.translation.protected import find_spans, translate_all

PROTECTED = [
    ("Jereo ny https://milo.mg/vaovao?x=1&y=Izy#z azafady.", ["https://milo.mg/vaovao?x=1&y=Izy#z"]),
    ("Sokafy ny (https://mg.wikipedia.org/wiki/A_(b)).", ["https://mg.wikipedia.org/wiki/A_(b)"]),
    ("Manorata any amin'ny rakoto.be@gmail.com, azafady!", ["rakoto.be@gmail.com"]),
    ("Jereo ny www.milo.mg/aide.", ["www.milo.mg/aide"]),
    ("Ampio @rakoto_be sy #Madagasikara.", ["@rakoto_be", "#Madagasikara"]),
    ("Salama {name}, manana {{count}} ianao: ${total}", ["{name}", "{{count}}", "${total}"]),
    ("Salama %s, %1$d sy %(anarana)s no tonga.", ["%s", "%1$d", "%(anarana)s"]),
    ("Tsindrio ny <b class='x'>eto</b><br/>&nbsp;izao.", ["<b class='x'>", "</b>", "<br/>", "&nbsp;"]),
    ("Mila 12 500 Ar sy 3,5 kg ary 20 % aho.", ["12 500 Ar", "3,5 kg", "20 %"]),
    ("Lafo ny 5\u00a0000\u00a0€ sy $5.99 ary Ar 2000.", ["5\u00a0000\u00a0€", "$5.99", "Ar 2000"]),
    ("Antsoy ny +261 34 12 345 67 amin'ny 10:30, 12/05/2024.", ["+261 34 12 345 67", "10:30", "12/05/2024"]),
    ("Ny kaody AB-1234 sy v2.0.1 no ilaina.", ["AB-1234", "v2.0.1"]),
    ("Olona 7 no tonga.", ["7"]),
    ("Soraty ny `pip install` ao /etc/milo/env.", ["`pip install`", "/etc/milo/env"]),
]


def copies(texts: Sequence[str]) -> list[str]:
    return list(texts)


def spoils(texts: Sequence[str]) -> list[str]:
    """Every sign and figure becomes a word, as a small model does with what it has never seen."""
    return [re.sub(r"[^\s]*[^\w\s.!?]+[^\s]*|\S*\d\S*", "midi", text) for text in texts]


def drops(texts: Sequence[str]) -> list[str]:
    return ["fa" for _ in texts]


def keeps_marks(texts: Sequence[str]) -> list[str]:
    return [re.sub(r"\[ ?(\d) ?\]", r"[ \1 ]", text) if "[1]" in text else "fa 99" for text in texts]


def doubles(texts: Sequence[str]) -> list[str]:
    return [f"{text} {text}" for text in texts]


@pytest.mark.parametrize(("text", "spans"), PROTECTED)
def test_each_kind_of_span_is_found(text: str, spans: list[str]) -> None:
    assert [span.written for span in find_spans(text)] == spans


@pytest.mark.parametrize("model", [copies, spoils, drops, keeps_marks, doubles])
@pytest.mark.parametrize(("text", "spans"), PROTECTED)
def test_every_span_survives_every_model(
    text: str, spans: list[str], model: Callable[[Sequence[str]], list[str]]
) -> None:
    [made] = translate_all([text], model)
    for span in spans:
        assert span in made
    figures = set(re.findall(r"\d+", text))
    assert set(re.findall(r"\d+", made)) <= figures, "no figure that was not there"


def test_a_model_that_copies_is_asked_once_for_all_texts() -> None:
    asked: list[list[str]] = []

    def model(texts: Sequence[str]) -> list[str]:
        asked.append(list(texts))
        return copies(texts)

    translate_all(["Salama.", "Jereo ny https://milo.mg. Mila 3 kg aho."], model)
    assert asked == [["Salama.", "Jereo ny https://milo.mg.", "Mila 3 kg aho."]]


def test_a_spoilt_sentence_is_asked_again_with_marks_and_then_in_pieces() -> None:
    asked: list[list[str]] = []

    def model(texts: Sequence[str]) -> list[str]:
        asked.append(list(texts))
        return ["Xy." for _ in texts]

    [made] = translate_all(["Jereo ny https://milo.mg azafady."], model)
    assert asked == [["Jereo ny https://milo.mg azafady."], ["Jereo ny [1] azafady."], ["Jereo ny", "azafady."]]
    assert made == "Xy https://milo.mg xy."


@pytest.mark.parametrize("text", ["https://milo.mg", "12 500 Ar", "{name}", "%s: 5 kg", "@rakoto"])
def test_what_holds_nothing_to_translate_stays_and_no_model_is_asked(text: str) -> None:
    def model(texts: Sequence[str]) -> list[str]:
        raise AssertionError(texts)

    assert translate_all([text], model) == [text]


def test_a_text_without_spans_goes_to_the_model_whole() -> None:
    asked: list[list[str]] = []
    translate_all(["Salama. Manao ahoana?"], lambda texts: asked.append(list(texts)) or list(texts))  # type: ignore[func-returns-value]
    assert asked == [["Salama. Manao ahoana?"]]


GLOSSARY = Glossary([{"plt_Latn": ("Ivon-toerana Milo", "IM"), "fra_Latn": ("Centre Milo",)}])


@pytest.mark.parametrize("model", [copies, spoils, drops, keeps_marks])
@pytest.mark.parametrize("term", ["Ivon-toerana Milo", "ivon-toerana  milo", "IM"])
def test_a_term_of_the_glossary_stands_inside_a_sentence(
    term: str, model: Callable[[Sequence[str]], list[str]]
) -> None:
    [made] = translate_all(
        [f"Tonga ao amin'ny {term} izy."], model, lambda text: GLOSSARY.terms(text, "plt_Latn", "fra_Latn")
    )
    assert "Centre Milo" in made and "IM" not in made


def test_a_term_is_a_whole_word() -> None:
    assert GLOSSARY.terms("SIMa sy fIM", "plt_Latn", "fra_Latn") == []
    assert GLOSSARY.terms("Ny IM.", "fra_Latn", "plt_Latn") == []
