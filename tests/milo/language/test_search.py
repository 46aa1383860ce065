"""How words are compared, and which of a passage are marked."""

from __future__ import annotations

import pytest

from milo.errors import Invalid
from milo.language.search import fold, highlights, indexed, parse


def marked(query: str, text: str, language: str = "mg") -> list[str]:
    return [text[start:end] for start, end in highlights(text, language, parse(query))]


def test_case_accents_and_apostrophes_do_not_count() -> None:
    assert fold("Tôlagnaro") == "tolagnaro" and fold("e\u0301te\u0301") == "ete" and fold("ŒUVRE") != ""
    assert indexed("Ny vola n'ny Fanjakana…", "fr") == "ny vola n ny fanjakana"


@pytest.mark.parametrize("query", ["manoratra", "nanoratra", "hanoratra", "MANORA"])
def test_a_malagasy_verb_is_found_in_any_tense(query: str) -> None:
    assert marked(query, "Nanoratra izy, hanoratra koa, fa tsy soratra.") == ["Nanoratra", "hanoratra"]


def test_tense_is_a_rule_of_malagasy_only() -> None:
    assert marked("maison", "la haison et la maison", "fr") == ["maison"]
    assert "mnh" not in indexed("la maison", "fr") and "mnhanao" in indexed("nanao", "mg")


def test_marks_stand_where_the_words_are_in_any_text() -> None:
    text = "😀 <b>Été</b> — l'e\u0301te\u0301 manaraka"
    assert marked("ete", text) == ["Été", "e\u0301te\u0301"]
    assert marked('"manaraka"', text) == ["manaraka"] and marked("vola", "volana volam") == ["volana", "volam"]
    assert marked('"vola"', "volana vola") == ["vola"], "a phrase is found as it stands"


@pytest.mark.parametrize("query", ["", "   ", '""', "!?-*", "a b c d e f g h i j k l m n o p q"])
def test_a_query_without_words_or_with_too_many_is_refused(query: str) -> None:
    with pytest.raises(Invalid):
        parse(query)
