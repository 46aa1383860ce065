"""The header of CTranslate2's model.bin, read in Python before CTranslate2 sees the file: what it trusts, we check.

Layout: `ModelSpec._serialize` in https://github.com/OpenNMT/CTranslate2/blob/master/python/ctranslate2/specs/model_spec.py
Little endian: version of the format, kind of model and its revision, then each variable as name, sides, type, number of
bytes and the bytes; in the end names that stand for others. Knows nothing of what the variables mean.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from milo.errors import ModelUnavailable, NotFound, TooLarge
from milo.models.formats import MAX_FILE_BYTES
from milo.storage.opening import open_regular

VERSIONS = (4, 5, 6)
"""Of the format; before 4 there was no Whisper in it."""
TYPES = (("F32", 4), ("I8", 1), ("I16", 2), ("I32", 4), ("F16", 2), ("BF16", 2))
"""By CTranslate2's number of the type: as safetensors names it, and bytes of a value."""
MAX_VARIABLES = 100_000
MAX_SIDES = 4
MAX_NUMBER_BYTES = 8
"""A variable of no more bytes is kept: settings of the model are in such ones."""


@dataclass(frozen=True)
class Variable:
    dtype: str
    shape: tuple[int, ...]
    raw: bytes = b""
    """Its content, where that is a number."""

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    @property
    def number(self) -> int:
        return int.from_bytes(self.raw, "little", signed=True)


@dataclass(frozen=True)
class Header:
    spec: str
    """`WhisperSpec`, `TransformerSpec`, …"""
    revision: int
    variables: Mapping[str, Variable]
    """Under other names, too, what is there once."""


def read_header(path: Path) -> Header:
    """The header of a model.bin. Raises `ModelUnavailable` for a file that is cut off, or that says what can't be."""
    try:
        state = path.stat()
    except OSError as error:
        raise ModelUnavailable(f"{path} can't be read: {error.strerror}") from None
    return _read(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=16)
def _read(path: Path, size: int, _changed_ns: int) -> Header:
    try:
        with open_regular(path, MAX_FILE_BYTES) as stream:
            return _parse(stream, os.fstat(stream.fileno()).st_size)
    except (struct.error, _CutOff):
        raise ModelUnavailable(f"{path} is cut off after {size} bytes: copy it again") from None
    except (OSError, NotFound, TooLarge, ValueError) as error:
        raise ModelUnavailable(f"{path} is damaged: {error}") from None


class _CutOff(Exception):
    pass


def _parse(stream: BinaryIO, size: int) -> Header:
    (version,) = _numbers(stream, "<I")
    if version not in VERSIONS:
        raise ValueError(f"its format has the number {version}; {VERSIONS[0]} to {VERSIONS[-1]} are known")
    spec = _text(stream)
    revision, count = _numbers(stream, "<II")
    if count > MAX_VARIABLES:
        raise ValueError(f"it claims {count} variables")
    variables: dict[str, Variable] = {}
    for _ in range(count):
        name = _text(stream)
        if name in variables:
            raise ValueError(f"it has {name[:100]} twice")
        variables[name] = _variable(stream, name, size)
    (aliases,) = _numbers(stream, "<I")
    if aliases > MAX_VARIABLES:
        raise ValueError(f"it claims {aliases} other names")
    for _ in range(aliases):
        alias, name = _text(stream), _text(stream)
        if name not in variables:
            raise ValueError(f"{alias[:100]} stands for {name[:100]}, which it has not")
        variables[alias] = variables[name]
    return Header(spec, revision, variables)


def _variable(stream: BinaryIO, name: str, size: int) -> Variable:
    (sides,) = _numbers(stream, "<B")
    if sides > MAX_SIDES:
        raise ValueError(f"{name[:100]} has {sides} sides")
    shape = _numbers(stream, f"<{sides}I") if sides else ()
    number, length = _numbers(stream, "<BI")
    if number >= len(TYPES):
        raise ValueError(f"{name[:100]} is of the unknown type {number}")
    dtype, width = TYPES[number]
    if math.prod(shape) * width != length:
        raise ValueError(f"{name[:100]} has the shape {shape} in {dtype} and {length} bytes")
    if stream.tell() + length > size:
        raise _CutOff
    if length <= MAX_NUMBER_BYTES:
        return Variable(dtype, shape, stream.read(length))
    stream.seek(length, os.SEEK_CUR)
    return Variable(dtype, shape)


def _numbers(stream: BinaryIO, layout: str) -> tuple[int, ...]:
    return struct.unpack(layout, stream.read(struct.calcsize(layout)))


def _text(stream: BinaryIO) -> str:
    (length,) = _numbers(stream, "<H")
    raw = stream.read(length)
    if len(raw) < length:
        raise _CutOff
    if raw.find(b"\0") != length - 1:
        raise ValueError("one of its names ends in the wrong place")
    return raw[:-1].decode("utf-8")
