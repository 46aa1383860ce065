"""Raw text to plain text: HTML, Markdown, emoji, odd spaces and compatibility characters taken away or made ordinary.

Knows nothing of languages. What it can't know to be markup stays.
"""

from __future__ import annotations

import html
import re
import unicodedata

_COMMENT = re.compile(r"<!--.*?-->", re.S)
_UNSPOKEN = re.compile(r"<(script|style)\b[^<>]{0,500}>.*?</\1\s*>", re.S | re.I)
_ATTRIBUTE = r"""\s+[\w:@.-]+(?:\s*=\s*(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>=]+))"""
_BREAK = re.compile(r"</?(?:br|p|div|li|ul|ol|tr|table|h[1-6]|hr|blockquote|section|article)\b[^<>]{0,500}>", re.I)
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31})(?:;|(?![\w=;]))")
"""As HTML knows them: the semicolon may be missing where the name ends all the same."""
_ESCAPED = 3
"""So often may a text have been escaped, one over the other."""
_POWER_OF_TEN = re.compile("(?<![0-9.,])10([⁻⁺]?)([⁰¹²³⁴⁵⁶⁷⁸⁹]{1,3})")
_TAG = re.compile(rf"</?[a-zA-Z][\w-]{{0,20}}(?:{_ATTRIBUTE}){{0,20}}\s*/?>")

_MARKDOWN: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"^[ \t]*(?:```|~~~)[^\n`]*$", re.M), ""),
    (re.compile(r"!?\[([^\[\]\n]{0,500})\]\((?:[^()\s]|\([^()\s]*\)){0,2000}(?:\s+\"[^\"\n]*\")?\)"), r"\1"),
    (re.compile(r"\[([^\[\]\n]{1,200})\]\[[^\[\]\n]{0,100}\]"), r"\1"),
    (re.compile(r"^[ \t]*(?:[-*_][ \t]*){3,}$", re.M), ""),
    (re.compile(r"^[ \t]*\|?(?:[ \t]*:?-{2,}:?[ \t]*\|)+(?:[ \t]*:?-{2,}:?)?[ \t]*$", re.M), ""),
    (re.compile(r"^[ \t]*\|(.*)\|[ \t]*$", re.M), r"\1"),
    (re.compile(r"^[ \t]*#{1,6}[ \t]+(.*)$", re.M), r"\1\n"),
    (re.compile(r"^[ \t]*(?:>(?!\d)[ \t]?)+", re.M), ""),
    (re.compile(r"^[ \t]*[-*+•◦▪‣][ \t]+(?:\[[ xX]\][ \t]+)?", re.M), "\n"),
    (re.compile(r"(?<![\w*])(\*{1,3})(?=[^\s*])([^*\n]{1,1000}?)(?<=[^\s*])\1(?![\w*])"), r"\2"),
    (re.compile(r"(?<![\w_])(_{1,3})(?=[^\s_])([^\n]{1,1000}?)(?<=[^\s_])\1(?![\w_])"), r"\2"),
    (re.compile(r"~~([^~\n]{1,1000})~~"), r"\1"),
    (re.compile(r"`{1,3}([^`\n]{0,1000})`{1,3}"), r"\1"),
    (re.compile(r"[ \t]*\|[ \t]*"), ", "),
)
_EMOTICONS = re.compile(r"(?<![\w:;=<])(?:[:;=]['´]?-?[()DPpO*|\]\[]+|<3|\^_?\^|[xX]D|:-?/(?!/))(?!\w)")
_SPACES = re.compile(r"[^\S\n]+")
_SAME = str.maketrans(
    {
        "’": "'",
        "‘": "'",
        "ʼ": "'",
        "‛": "'",
        "`": "'",
        "´": "'",
        "′": "'",
        "−": "-",
        "‐": "-",
        "‑": "-",
        "‒": "-",
        "–": "–",
        "\u2028": "\n",
        "\u2029": "\n\n",
        "\r": "\n",
        "™": " ",
        "®": " ",
        "©": " ",
    }
)


def _ordinary(char: str, before: str) -> str:
    """One character, made ordinary: NFKC, ASCII digits, no emoji, no controls, no lone surrogates."""
    category = unicodedata.category(char)
    if char == "\n" or char.isascii() and char.isprintable():
        return char
    if category == "Nd":
        return str(unicodedata.digit(char))
    if category in ("Cf", "Cs", "Co", "Cn"):
        return ""
    if category in ("Cc", "Zs", "Zl", "Zp"):
        return " "
    if char in "°№¢£€¥":
        return "No " if char == "№" else char
    plain = unicodedata.normalize("NFKC", char)
    if category == "No" and before.isdecimal():
        return f" {plain}"
    if category in ("So", "Sk", "Me") or 0xFE00 <= ord(char) <= 0xFE0F:
        # of the symbols, ℃ and ㎏ say something in plain letters, and emoji do not
        return plain if plain != char and all(c.isalnum() or c in "°/." for c in plain) else " "
    return plain


def plain(text: str) -> str:
    """`text` without markup. Lines stay lines; other white space becomes one space; NFC; digits are ASCII digits."""
    text = text.replace("\r\n", "\n").translate(_SAME)
    for _ in range(_ESCAPED):
        before = text
        text = _TAG.sub("", _BREAK.sub("\n", _UNSPOKEN.sub(" ", _COMMENT.sub(" ", text))))
        text = _ENTITY.sub(lambda entity: html.unescape(entity[0]), text).translate(_SAME)
        if text == before:
            break
    text = _POWER_OF_TEN.sub(lambda m: f"10^{'-' if m[1] == '⁻' else ''}{unicodedata.normalize('NFKC', m[2])}", text)
    for pattern, replacement in _MARKDOWN:
        text = pattern.sub(replacement, text)
    text = _EMOTICONS.sub(" ", text)
    characters: list[str] = []
    for char in unicodedata.normalize("NFC", text):
        characters.append(_ordinary(char, characters[-1][-1:] if characters else ""))
    text = unicodedata.normalize("NFC", "".join(characters))
    return "\n".join(_SPACES.sub(" ", line).strip() for line in text.split("\n"))


def unwrap(text: str) -> str:
    """Lines that were only wrapped are joined: a line that goes on in lower case after no final mark."""
    return re.sub(r"(?<=[^\s.!?:;])\n(?=[^\W\d_A-Z])", lambda m: " ", text)
