"""Tiny GGUF models that say what a test wants: a language model whose next token depends on the last one alone.

Embeddings are one-hot and the only layer adds nothing, so the output matrix is a table of successors. The vocabulary
has a token for each byte (as GPT-2 writes them), the control tokens of ChatML, and one for each piece of the script
(a piece that comes twice must be followed by the same one).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|secret|>")
IM_END = 2
NEWLINE = len(CONTROL) + ord("\n")
_U32, _I32, _F32, _BOOL, _STR, _ARR = 4, 5, 6, 7, 8, 9


def byte_letters() -> list[str]:
    """How GPT-2 writes each of the 256 bytes as a printable character."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(spare)) for byte in range(256)]


def write_gguf(
    path: Path,
    script: Sequence[bytes] = (b"Salama", b"!"),
    *,
    loop: bool = False,
    template: str | None = CHATML,
    context: int = 512,
    change: dict[str, Any] | None = None,
) -> Path:
    """A model that answers anything with `script`, then ends its turn (or, with `loop`, begins again).

    `change` overrides metadata: a key with the value None is left out.
    """
    letters = byte_letters()
    pieces = ["".join(letters[byte] for byte in piece) for piece in script]
    tokens = list(dict.fromkeys([*CONTROL, *letters, *pieces]))
    spoken = [tokens.index(piece) for piece in pieces]
    kinds = [3] * len(CONTROL) + [1] * (len(tokens) - len(CONTROL))
    size = -(-len(tokens) // 32) * 32
    tokens += [f"<unused{number}>" for number in range(size - len(tokens))]
    kinds += [1] * (size - len(kinds))
    metadata: dict[str, Any] = {
        "general.architecture": "llama",
        "general.name": "scripted",
        "llama.context_length": context,
        "llama.embedding_length": size,
        "llama.block_count": 1,
        "llama.feed_forward_length": 32,
        "llama.attention.head_count": 4,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": ["Ġ Ġ"],
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": IM_END,
        "tokenizer.ggml.add_bos_token": False,
        **({"tokenizer.chat_template": template} if template else {}),
        **(change or {}),
    }
    successors = dict(zip([NEWLINE, *spoken], [*spoken, spoken[0] if loop else IM_END], strict=True))
    output = np.zeros((size, size), np.float32)
    for token, following in successors.items():
        output[following, token] = 20.0
    write(path, {key: value for key, value in metadata.items() if value is not None}, _tensors(size, output))
    return path


def _tensors(size: int, output: np.ndarray) -> dict[str, np.ndarray]:
    square, wide = np.zeros((size, size), np.float32), np.zeros((32, size), np.float32)
    ones = np.ones(size, np.float32)
    layer = {f"blk.0.attn_{part}.weight": square for part in ("q", "k", "v", "output")}
    layer |= {"blk.0.attn_norm.weight": ones, "blk.0.ffn_norm.weight": ones}
    layer |= {"blk.0.ffn_gate.weight": wide, "blk.0.ffn_up.weight": wide, "blk.0.ffn_down.weight": wide.T}
    whole = {"token_embd.weight": np.eye(size, dtype=np.float32), "output_norm.weight": ones, "output.weight": output}
    return whole | layer


def write(path: Path, metadata: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    """A GGUF version 3 file with float32 tensors."""
    head = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(metadata))]
    head += [_text(key) + _value(value) for key, value in metadata.items()]
    body, at = [], 0
    for name, array in tensors.items():
        shape = array.shape[::-1]
        head.append(_text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, at))
        raw = np.ascontiguousarray(array).tobytes()
        body.append(raw + b"\0" * (-len(raw) % 32))
        at += len(body[-1])
    front = b"".join(head)
    path.write_bytes(front + b"\0" * (-len(front) % 32) + b"".join(body))


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(value: Any) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", _STR) + _text(value)
    if isinstance(value, float):
        return struct.pack("<If", _F32, value)
    if isinstance(value, bool):
        return struct.pack("<I?", _BOOL, value)
    if isinstance(value, int):
        return struct.pack("<II", _U32, value)
    return struct.pack("<I", _ARR) + _items(value)


def _items(values: Iterable[Any]) -> bytes:
    listed = list(values)
    if listed and isinstance(listed[0], str):
        return struct.pack("<IQ", _STR, len(listed)) + b"".join(map(_text, listed))
    return struct.pack("<IQ", _I32, len(listed)) + struct.pack(f"<{len(listed)}i", *listed)
