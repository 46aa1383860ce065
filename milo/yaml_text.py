"""YAML of strangers: mappings, lists and plain values at a bounded cost. No aliases, tags, dates or numbers of base 60.

The values are made here from PyYAML's events: its own constructor takes seconds for 100 KB of `1:1:1:…`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

MAX_YAML_BYTES = 64 * 1024
"""A recipe has 2 KB."""
MAX_DEPTH = 32
MAX_VALUES = 10_000
MAX_DIGITS = 40
_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)")
_OTHER_BASE = re.compile(r"([-+]?)(0b|0x|0)([0-9a-fA-F_]+)")
_BASES = {"0b": 2, "0x": 16, "0": 8}
_FLOAT = re.compile(r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)")
_WORDS: dict[str, bool | float | None] = {"": None, "~": None, ".nan": float("nan")}
for _words, _value in (("yes true on", True), ("no false off", False), ("null", None)):
    _WORDS |= {form: _value for word in _words.split() for form in (word, word.capitalize(), word.upper())}


def load(text: str | bytes) -> Any:
    """What the text says: mappings, lists, texts, numbers, booleans, null. Raises `ValueError` with the reason."""
    size = len(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
    if size > MAX_YAML_BYTES:
        raise ValueError(f"YAML of {size} bytes is not read; {MAX_YAML_BYTES} are the most (JSON may be longer)")
    try:
        return _Reader(text).document()
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


class _Reader:
    """Values from events."""

    def __init__(self, text: str | bytes) -> None:
        self._events: Iterator[Any] = yaml.parse(text, Loader=_PARSER)
        self._left = MAX_VALUES

    def document(self) -> Any:
        value = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                value = self._value(next(self._events), 0)
                break
        if any(isinstance(event, yaml.DocumentStartEvent) for event in self._events):
            raise ValueError("there are two documents in it; one is wanted")
        return value

    def _value(self, event: Any, depth: int) -> Any:
        self._left -= 1
        if self._left < 0:
            raise ValueError(f"there are more than {MAX_VALUES} values in it")
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise ValueError("anchors and aliases are not taken; write the values out")
        if event.tag is not None:
            raise ValueError(f"tags ({event.tag[:40]!r}) are not taken; write the value as it is")
        if isinstance(event, yaml.ScalarEvent):
            return _plain(event.value) if event.implicit[0] else event.value
        if isinstance(event, yaml.SequenceStartEvent):
            return list(self._values_until(yaml.SequenceEndEvent, depth))
        values = list(self._values_until(yaml.MappingEndEvent, depth))
        if any(isinstance(key, (dict, list)) for key in values[::2]):
            raise ValueError("a key is a text or a number, not a list or a mapping")
        return dict(zip(values[::2], values[1::2], strict=True))

    def _values_until(self, end: type, depth: int) -> Iterator[Any]:
        for event in self._events:
            if isinstance(event, end):
                return
            yield self._value(event, depth + 1)


def _plain(text: str) -> Any:
    """A value that is not quoted, by the rules of YAML 1.1 as far as JSON has them."""
    if text in _WORDS:
        return _WORDS[text]
    if not (text[0].isdigit() or text[0] in "+-.") or len(text) > MAX_DIGITS:
        return text
    if _INT.fullmatch(text):
        return int(text.replace("_", ""))
    if _FLOAT.fullmatch(text):
        return float(text.replace("_", "").lower().replace(".inf", "inf"))
    if other := _OTHER_BASE.fullmatch(text):
        try:
            return int(other[1] + other[3].replace("_", ""), _BASES[other[2]])
        except ValueError:
            return text
    return text
