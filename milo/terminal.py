"""What a terminal obeys instead of showing, and what hides or reorders the text around it; made visible, or refused.

Names come from strangers: file names, batches, models, details of another server. Raw, an ESC or a C1 control in one
drives the operator's terminal, and a bidirectional override shows another name than the one that is there.
"""

from __future__ import annotations

import re

_SIGNS = (
    r"\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f"  # controls, without tab, line feed and carriage return
    r"\xad\u180e\u200b\u2060-\u206f\ufeff\ufff9-\ufffb"  # formats that nobody sees, isolates of U+2066 to U+2069
    r"\u2028-\u202e"  # separators of lines and paragraphs, embeddings and overrides
    r"\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f"
    r"\ud800-\udfff"  # half characters, which can't be written at all
)
# Not here, for text needs them: joiners (emoji, Persian), the marks U+200E, U+200F and U+061C, which do no more than a
# letter of their direction, and the Arabic signs around numbers.
_FLAG = "\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f"
"""The emoji of a flag such as Scotland's, in which tags are letters."""
_HIDDEN = re.compile(rf"({_FLAG})|[{_SIGNS}]|\r(?!\n)")
_HIDDEN_IN_LINE = re.compile(rf"({_FLAG})|[{_SIGNS}\r\n]")


def visible(text: str, one_line: bool = False) -> str:
    """The text with such characters as `\\u001b`, as JSON writes them; `one_line`: line feeds, too.

    What is JSON stays the same JSON. Said twice it changes nothing more.
    """
    return (_HIDDEN_IN_LINE if one_line else _HIDDEN).sub(_escaped, text)


def hidden_in(text: str, one_line: bool = True) -> str | None:
    """The first such character, named for people (`U+202E`); None: there is none."""
    for found in (_HIDDEN_IN_LINE if one_line else _HIDDEN).finditer(text):
        if found[1] is None:
            return f"U+{ord(found[0][0]):04X}"
    return None


def _escaped(found: re.Match[str]) -> str:
    if found[1] is not None:
        return found[1]
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))
