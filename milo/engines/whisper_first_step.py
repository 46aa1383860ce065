"""The first step of a Whisper decoder in numpy: which language does the model expect after `<|startoftranscript|>`?

CTranslate2 answers that only for vocabularies of stock size (51865 and more). One query token needs no keys and
values of 1500 frames: the key projection folds into the query and the value projection behind the weighted sum, so
this costs a fraction of a decoder step.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from milo.model_files import safetensors_header, weight_files

Floats = npt.NDArray[np.float32]


def read_tensors(folder: Path, prefix: str, *, keep_half: bool = False) -> dict[str, Any]:
    """Tensors of a safetensors checkpoint whose names start with `prefix`, as float32 (or float16, if they are)."""
    found: dict[str, Any] = {}
    for path in weight_files(folder):
        raw = np.memmap(path, np.uint8, "r")
        start = 8 + int(raw[:8].view("<u8")[0])
        for name, entry in safetensors_header(path).items():
            if name.startswith(prefix):
                begin, end = entry["data_offsets"]
                half = keep_half and entry["dtype"] == "F16"
                block = raw[start + begin : start + end]
                found[name] = (block.view("<f2") if half else _as_float32(block, entry["dtype"])).reshape(
                    entry["shape"]
                )
    return found


def _as_float32(raw: npt.NDArray[np.uint8], dtype: str) -> Floats:
    if dtype == "BF16":
        return (np.frombuffer(raw.tobytes(), "<u2").astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(raw.tobytes(), {"F16": "<f2", "F32": "<f4", "F64": "<f8"}[dtype]).astype(np.float32)


def _gelu(x: Floats) -> Floats:
    """x Phi(x), with erf from Abramowitz & Stegun 7.1.26 (error below 2e-7)."""
    z = np.abs(x) / np.sqrt(np.float32(2))
    t = 1 / (1 + 0.3275911 * z)
    tail = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t
    erf = np.sign(x) * (1 - tail * np.exp(-z * z))
    return np.asarray(0.5 * x * (1 + erf), np.float32)


def _softmax(x: Floats) -> Floats:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True), np.float32)


class FirstStep:
    """`languages(encoded)`: probability of each language token, given encoder output."""

    def __init__(self, folder: Path, config: dict[str, Any], sot: int, language_tokens: list[int]) -> None:
        self.heads = int(config["decoder_attention_heads"])
        prefix = "model.decoder."
        self._w = {name[len(prefix) :]: value for name, value in read_tensors(folder, prefix).items()}
        embedding = self._w.pop("embed_tokens.weight")
        self.layers = int(config["decoder_layers"])
        self.output = embedding[language_tokens].copy()
        self.start = embedding[sot] + self._w.pop("embed_positions.weight")[0]

    def _norm(self, x: Floats, name: str) -> Floats:
        centred = x - x.mean(axis=-1, keepdims=True)
        scale = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + 1e-5)
        return np.asarray(centred / scale * self._w[f"{name}.weight"] + self._w[f"{name}.bias"], np.float32)

    def _linear(self, x: Floats, name: str) -> Floats:
        return np.asarray(x @ self._w[f"{name}.weight"].T + self._w.get(f"{name}.bias", np.float32(0)), np.float32)

    def _cross(self, x: Floats, encoded: Floats, layer: str) -> Floats:
        batch, size = x.shape
        head = size // self.heads
        query = (self._linear(x, f"{layer}.q_proj") * np.float32(head**-0.5)).reshape(batch, self.heads, head)
        keys = self._w[f"{layer}.k_proj.weight"].reshape(self.heads, head, size)
        values = self._w[f"{layer}.v_proj.weight"].reshape(self.heads, head, size)
        folded = np.einsum("bhe,hed->bhd", query, keys, optimize=True)
        weights = _softmax(folded @ encoded.transpose(0, 2, 1))
        mixed = np.einsum("bhd,hed->bhe", weights @ encoded, values, optimize=True).reshape(batch, size)
        return np.asarray(self._linear(mixed + self._w[f"{layer}.v_proj.bias"], f"{layer}.out_proj"), np.float32)

    def languages(self, encoded: Floats) -> Floats:
        """Probabilities over the language tokens, shape (batch, languages), of encoder output (batch, time, d)."""
        x = np.repeat(self.start[None], len(encoded), axis=0)
        for n in range(self.layers):
            layer = f"layers.{n}"
            h = self._norm(x, f"{layer}.self_attn_layer_norm")
            x = x + self._linear(self._linear(h, f"{layer}.self_attn.v_proj"), f"{layer}.self_attn.out_proj")
            x = x + self._cross(self._norm(x, f"{layer}.encoder_attn_layer_norm"), encoded, f"{layer}.encoder_attn")
            h = self._norm(x, f"{layer}.final_layer_norm")
            x = x + self._linear(_gelu(self._linear(h, f"{layer}.fc1")), f"{layer}.fc2")
        return _softmax(self._norm(x, "layer_norm") @ self.output.T)
