"""The header of a GGUF file, read in Python before llama.cpp sees the file: what it trusts, we check.

Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Knows nothing of tensors' contents.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from milo.errors import ModelUnusable
from milo.models.apart import Limits, run_apart

Scalar = str | int | float | bool

VERSIONS = (2, 3)
MAX_ENTRIES = 1_000_000
"""More metadata keys or tensors than any model has."""
MAX_KEY_BYTES = 65_535
MAX_CONTEXT_TOKENS = 2**25
MAX_TEMPLATE_CHARS = 256 * 1024
PROBE_S = 60
"""Seconds of computing, and as many again for each GB."""
PROBE_BYTES = 3 * 2**30
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True)
class Header:
    """`metadata` has the scalars; of arrays only the length is kept. `tensors`: name -> shape."""

    version: int
    metadata: dict[str, Scalar] = field(default_factory=dict)
    array_lengths: dict[str, int] = field(default_factory=dict)
    tensors: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def architecture(self) -> str:
        return str(self.metadata["general.architecture"])

    @property
    def context_tokens(self) -> int:
        """What the model was trained for."""
        return int(self.metadata[f"{self.architecture}.context_length"])

    @property
    def chat_template(self) -> str | None:
        template = self.metadata.get("tokenizer.chat_template")
        return template if isinstance(template, str) else None


_PROBE = """
import sys, llama_cpp
llama_cpp.Llama(model_path=sys.argv[1], n_ctx=64, n_batch=64, n_gpu_layers=0, n_threads=1)
"""


def check_loads(path: Path) -> None:
    """Load the file once in a process of its own: llama.cpp aborts on some damage (a token that is there twice).

    Takes about a second, and is remembered for as long as the file does not change. Raises `ModelUnavailable`.
    """
    state = path.stat()
    _check_loads(path, (state.st_size, state.st_mtime_ns))


@lru_cache(maxsize=32)
def _check_loads(path: Path, _state: tuple[int, int]) -> None:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LD_LIBRARY_PATH", "LANG") if name in os.environ}
    env = {**kept, "GGML_NO_BACKTRACE": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_WAIT_POLICY": "passive"}
    env["PYTHONPATH"] = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    limits = Limits(PROBE_S * (1 + path.stat().st_size / 1e9), PROBE_BYTES + 2 * path.stat().st_size)
    done = run_apart([sys.executable, "-c", _PROBE, str(path)], env, limits)
    if done.code == 0:
        return
    if done.why in ("time", "memory"):
        limit = f"within {limits.cpu_s:.0f} s" if done.why == "time" else f"in {limits.memory_bytes} bytes of memory"
        raise ModelUnusable(f"{path} was not loaded {limit}", code="bad_gguf")
    lines = [line.strip() for line in done.stderr.decode("utf-8", "replace").splitlines()]
    reasons = [line for line in lines if "error" in line.lower() or "GGML_ASSERT" in line]
    why = reasons[-1].rpartition("/src/")[2] if reasons else f"the loader ended with {done.code}"
    if reasons and any("error loading model" in line for line in reasons):
        why = next(line for line in reasons if "error loading model" in line)
    raise ModelUnusable(f"{path} can't be loaded by llama.cpp: {why}; download it again", code="bad_gguf")


class _Broken(Exception):
    """What is wrong, in words that follow the name of the file."""


def read_header(path: Path) -> Header:
    """The header of a chat model. Raises `ModelUnavailable` with what is wrong with the file."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if size < 24:
                raise _Broken(f"has {size} bytes: it is no GGUF file, or its download has just begun")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                header = _Reader(data, size).header()
        _check_model(header)
    except _Broken as broken:
        raise ModelUnusable(f"{path} {broken}", code="bad_gguf") from None
    except OSError as error:
        raise ModelUnusable(f"{path} can't be read: {error.strerror or error}", code="bad_gguf") from None
    return header


def _check_model(header: Header) -> None:
    """Raise `_Broken` for a GGUF that is whole, and not a chat model."""
    metadata = header.metadata
    if not isinstance(metadata.get("general.architecture"), str):
        raise _Broken("does not say its architecture (general.architecture)")
    kind = metadata.get("general.type", "model")
    if kind != "model":
        raise _Broken(f"holds no model but a part of one (general.type is {kind!r})")
    if not header.tensors:
        raise _Broken("holds no weights, only a vocabulary")
    for key in ("context_length", "embedding_length", "block_count"):
        value = metadata.get(f"{header.architecture}.{key}")
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**31:
            raise _Broken(f"has no usable {header.architecture}.{key} ({value!r})")
    _check_shapes(header)
    if not isinstance(metadata.get("tokenizer.ggml.model"), str) or not header.array_lengths.get(
        "tokenizer.ggml.tokens"
    ):
        raise _Broken("has no vocabulary (tokenizer.ggml.tokens)")
    tokens = header.array_lengths["tokenizer.ggml.tokens"]
    for key in ("tokenizer.ggml.scores", "tokenizer.ggml.token_type"):
        if header.array_lengths.get(key, tokens) != tokens:
            raise _Broken(f"has {tokens} tokens and {header.array_lengths[key]} entries in {key}")
    for name in ("bos", "eos", "eot", "unknown", "padding"):
        token = metadata.get(f"tokenizer.ggml.{name}_token_id", 0)
        if not isinstance(token, int) or (token >= tokens and token not in (2**32 - 1, -1)):
            raise _Broken(f"names a {name} token ({token!r}) that its {tokens} tokens do not have")


def _check_shapes(header: Header) -> None:
    """Raise `_Broken` where the header claims more than its tensors are."""
    of = {key: int(header.metadata[f"{header.architecture}.{key}"]) for key in ("block_count", "embedding_length")}
    blocks = {name.split(".")[1] for name in header.tensors if name.startswith("blk.")}
    if blocks and of["block_count"] > len(blocks):
        raise _Broken(f"claims {of['block_count']} blocks, and has tensors of {len(blocks)}")
    table = header.tensors.get("token_embd.weight")
    if table and of["embedding_length"] != table[0]:
        raise _Broken(f"claims embeddings of {of['embedding_length']}, and its table has {table[0]}")
    if (context := header.context_tokens) > MAX_CONTEXT_TOKENS:
        raise _Broken(f"claims a context of {context} tokens; {MAX_CONTEXT_TOKENS} is the most")
    if (template := header.chat_template) and len(template) > MAX_TEMPLATE_CHARS:
        raise _Broken(f"has a chat template of {len(template)} characters; {MAX_TEMPLATE_CHARS} is the most")


class _Reader:
    """Walks the header. Every length is held against what is left of the file before it is believed."""

    def __init__(self, data: mmap.mmap, size: int) -> None:
        self._data = data
        self._size = size
        self._at = 0

    def header(self) -> Header:
        if self._data[:4] != b"GGUF":
            raise _Broken(f"is no GGUF file: it begins with {self._data[:4]!r}, not with b'GGUF'")
        self._at = 4
        version = self._number("I")
        if version not in VERSIONS:
            if version in [value << 24 for value in (1, *VERSIONS)]:
                raise _Broken("is a big-endian GGUF; this machine needs a little-endian one")
            raise _Broken(f"has GGUF version {version}; {VERSIONS[0]} and {VERSIONS[-1]} can be read")
        tensor_count, key_count = self._number("Q"), self._number("Q")
        if max(tensor_count, key_count) > MAX_ENTRIES:
            raise _Broken(f"claims {tensor_count} tensors and {key_count} keys: the file is damaged")
        header = Header(int(version))
        for _ in range(int(key_count)):
            self._entry(header)
        ends = [self._tensor(header) for _ in range(int(tensor_count))]
        alignment = header.metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 0 < alignment <= 2**20 or alignment & (alignment - 1):
            raise _Broken(f"has an alignment of {alignment!r}: the file is damaged")
        start = -(-self._at // alignment) * alignment
        if ends and start + max(ends) > self._size:
            missing = start + max(ends) - self._size
            raise _Broken(f"is cut: at least {missing} bytes of weights are missing; download it again")
        return header

    def _entry(self, header: Header) -> None:
        key = self._string(MAX_KEY_BYTES)
        if key in header.metadata or key in header.array_lengths:
            raise _Broken(f"has the key {key!r} twice")
        kind = self._number("I")
        if kind == _ARRAY:
            header.array_lengths[key] = self._skip_array(key)
        elif kind == _STRING:
            header.metadata[key] = self._string(self._size)
        elif kind in _SCALARS:
            header.metadata[key] = self._number(_SCALARS[int(kind)])
        else:
            raise _Broken(f"has a value of unknown type {kind} at {key!r}: the file is damaged")

    def _skip_array(self, key: str) -> int:
        kind, count = int(self._number("I")), int(self._number("Q"))
        if kind in _SCALARS:
            self._skip(count * struct.calcsize(_SCALARS[kind]))
        elif kind == _STRING:
            if count > self._size // 8:
                raise _Broken(f"claims {count} strings in {key!r}: the file is damaged")
            unpack, data, at, size = struct.Struct("<Q").unpack_from, self._data, self._at, self._size
            for _ in range(count):  # the hot loop: a vocabulary has a hundred thousand of them
                if at + 8 > size:
                    break
                at += 8 + unpack(data, at)[0]
            self._at = at
            self._skip(0)
        else:
            raise _Broken(f"has an array of unknown type {kind} at {key!r}: the file is damaged")
        return count

    def _tensor(self, header: Header) -> int:
        """Register one tensor; returns a byte of the data section (counted from its start) that must be there."""
        name = self._string(MAX_KEY_BYTES)
        dimensions = int(self._number("I"))
        if not 0 < dimensions <= 4:
            raise _Broken(f"has a tensor {name!r} of {dimensions} dimensions: the file is damaged")
        shape = tuple(int(self._number("Q")) for _ in range(dimensions))
        self._number("I")  # the type; llama.cpp knows their sizes
        offset = int(self._number("Q"))
        if name in header.tensors or any(not 0 < side < 2**40 for side in shape):
            raise _Broken(f"has an impossible tensor {name!r}, {shape}: the file is damaged")
        header.tensors[name] = shape
        return offset + 1

    def _number(self, code: str) -> int | float | bool:
        value: int | float | bool = struct.unpack("<" + code, self._take(struct.calcsize("<" + code)))[0]
        return value

    def _string(self, longest: int) -> str:
        length = int(self._number("Q"))
        if length > longest:
            raise _Broken(f"claims a text of {length} bytes: the file is damaged")
        return self._take(length).decode("utf-8", "replace")

    def _take(self, count: int) -> bytes:
        self._skip(count)
        return self._data[self._at - count : self._at]

    def _skip(self, count: int) -> None:
        self._at += count
        if self._at > self._size:
            raise _Broken(f"ends in the middle of its header ({self._size} bytes): download it again")
