"""Folders in CTranslate2's format, written byte by byte: whole ones, and such as a stranger might send.

The layout is that of `ModelSpec._serialize` in CTranslate2. The weights are zeros; what is real is made by
CTranslate2's own converter (`tests/milo/engines/whisper/whisper_models.py`).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
TYPES = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}
BYTES = [chr(byte) for byte in range(33, 127)]
"""Text tokens of one byte."""
SPECIAL = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|mg|>", "<|translate|>", "<|transcribe|>"]
SPECIAL += ["<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
NAMES = [*BYTES, *SPECIAL]


def whisper_variables(
    width: int = 8, layers: tuple[int, int] = (2, 2), heads: int = 2, mels: int = 80, vocabulary: int = len(NAMES)
) -> dict[str, Array]:
    """The variables of a WhisperSpec of these sizes."""

    def zeros(*shape: int) -> Array:
        return np.zeros(shape, np.float16)

    variables: dict[str, Array] = {
        "decoder/embeddings/weight": zeros(vocabulary, width),
        "encoder/conv1/weight": zeros(width, mels, 3),
        "encoder/conv2/weight": zeros(width, width, 3),
        "encoder/conv1/bias": zeros(width),
        "encoder/conv2/bias": zeros(width),
        "encoder/position_encodings/encodings": zeros(1500, width),
        "decoder/position_encodings/encodings": zeros(448, width),
    }

    def linear(name: str, rows: int, columns: int) -> None:
        variables[f"{name}/weight"], variables[f"{name}/bias"] = zeros(rows, columns), zeros(rows)

    def norm(name: str) -> None:
        variables[f"{name}/layer_norm/gamma"], variables[f"{name}/layer_norm/beta"] = zeros(width), zeros(width)

    for side, count in zip(("encoder", "decoder"), layers, strict=True):
        variables[f"{side}/num_heads"] = np.int16(heads)[...]
        norm(side)
        for number in range(count):
            layer = f"{side}/layer_{number}"
            for part in ("self_attention", "attention", "ffn")[:: 1 if side == "decoder" else 2]:
                norm(f"{layer}/{part}")
            linear(f"{layer}/self_attention/linear_0", 3 * width, width)
            linear(f"{layer}/self_attention/linear_1", width, width)
            linear(f"{layer}/ffn/linear_0", 4 * width, width)
            linear(f"{layer}/ffn/linear_1", width, 4 * width)
            if side == "decoder":
                linear(f"{layer}/attention/linear_0", width, width)
                linear(f"{layer}/attention/linear_1", 2 * width, width)
                linear(f"{layer}/attention/linear_2", width, width)
    return variables


ALIASES = {"decoder/projection/weight": "decoder/embeddings/weight"}


def model_bin(
    variables: Mapping[str, Array],
    aliases: Mapping[str, str] = ALIASES,
    spec: str = "WhisperSpec",
    version: int = 6,
    revision: int = 3,
) -> bytes:
    """The bytes of a model.bin."""

    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    parts = [struct.pack("<I", version), text(spec), struct.pack("<II", revision, len(variables))]
    for name, value in variables.items():
        kind = TYPES[str(value.dtype)]
        parts += [text(name), struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)]
        parts += [struct.pack("<BI", kind, value.nbytes), value.tobytes()]
    parts += [struct.pack("<I", len(aliases)), *(text(alias) + text(name) for alias, name in aliases.items())]
    return b"".join(parts)


def tokenizer_json(names: list[str] = NAMES) -> bytes:
    """A byte-level tokenizer without merges, as tokenizer.json."""
    plain = [name for name in names if not name.startswith("<|")]
    added = [{"id": n, "content": name, "special": True} for n, name in enumerate(names) if name.startswith("<|")]
    return json.dumps(
        {
            "version": "1.0",
            "added_tokens": [
                {**one, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False} for one in added
            ],
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
            "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
            "model": {"type": "BPE", "vocab": {name: n for n, name in enumerate(plain)}, "merges": []},
        }
    ).encode()


def ct2_files(**sizes: Any) -> dict[str, bytes]:
    """The files of a folder as Systran publishes them."""
    config = {"alignment_heads": [[1, 0], [1, 1]], "lang_ids": [96, 97], "suppress_ids": [1, 2]}
    return {
        "config.json": json.dumps({**config, "suppress_ids_begin": [0, 94]}).encode(),
        "model.bin": model_bin(whisper_variables(**sizes)),
        "tokenizer.json": tokenizer_json(),
        "vocabulary.txt": "".join(f"{name}\n" for name in NAMES).encode(),
    }


def write_ct2(folder: Path, **changed: bytes | None) -> Path:
    """A folder of `ct2_files`; `changed` by names with `_` for `.`, None: without that file."""
    folder.mkdir(parents=True, exist_ok=True)
    files = ct2_files() | {name.replace("_", "."): content for name, content in changed.items()}
    for name, content in files.items():
        if content is not None:
            (folder / name).write_bytes(content)
    return folder
