"""What a terminal would obey, or what hides in a text, is shown; what people write stays as it is."""

from __future__ import annotations

import json
import sys
import unicodedata

import pytest

from api.requests.sources import file_name
from milo.errors import Invalid
from milo.kinds.tts import TtsInput
from milo.recipes import check
from milo.terminal import hidden_in, visible

HOSTILE = (
    "\x1b[2J",
    "\x9b2J",
    "\u202egpj.exe",
    "\u2066a\u2069",
    "a\u2028b",
    "\u200b",
    "\ufeff",
    "\U000e0041",
    "\x7f",
    "\x07",
)
READABLE = (
    "Miarahaba anao tompoko, ô!",
    "à bientôt — « déjà vu », œuf",
    "مرحبا\u200f (٣)",
    "می\u200cخواهم",
    "👩\u200d👩\u200d👧 👍🏽 🇲🇬",
    "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    "e\u0301\u00a0\u202f!",
)


def test_every_control_format_separator_and_half_character_is_shown_but_those_that_text_needs() -> None:
    needed = {"\t", "\n", "\u200c", "\u200d", "\u200e", "\u200f", "\u061c"}
    needed |= {chr(code) for code in (*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD)}
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        if unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp", "Cs"):
            assert (visible(char) == char) == (char in needed), f"U+{code:04X}"


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_of_it_is_left_and_saying_it_twice_changes_nothing(text: str) -> None:
    shown = visible(text)
    assert shown != text and shown.isprintable() and visible(shown) == shown and hidden_in(text)


@pytest.mark.parametrize("text", READABLE)
def test_what_people_write_is_shown_as_it_is(text: str) -> None:
    assert visible(text, one_line=True) == text and hidden_in(text) is None


def test_json_means_the_same_after_it() -> None:
    document = {"name": "".join(HOSTILE) + "".join(READABLE) + "\n\t\r"}
    assert json.loads(visible(json.dumps(document, ensure_ascii=False, indent=2))) == document


def test_a_line_feed_is_shown_where_one_line_is_meant() -> None:
    assert visible("a\nINFO forged", one_line=True) == "a\\u000aINFO forged"
    assert visible("a\r\nb\rc") == "a\r\nb\\u000dc"


@pytest.mark.parametrize("text", HOSTILE)
def test_a_name_with_it_is_refused_at_the_door_in_words_that_do_not_repeat_it(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        file_name(f"talk{text}.wav")
    assert refused.value.status == 422 and refused.value.detail.isprintable()
    with pytest.raises(ValueError, match="control or invisible"):
        TtsInput(text="salama", name=f"talk{text}")
    with pytest.raises(Invalid, match="control or invisible"):
        check({"name": "r", "task": "whisper", "model": f"m{text}", "data": {"source": "s"}, "training": {}})


@pytest.mark.parametrize("text", READABLE)
def test_names_in_any_language_are_taken(text: str) -> None:
    assert file_name(f"{text}.wav") == f"{text}.wav"
    assert TtsInput(text="salama", name=text).name == text
