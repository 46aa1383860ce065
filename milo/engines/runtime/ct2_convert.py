"""Fill a CTranslate2 model from a transformers checkpoint of an encoder and a decoder (Whisper, M2M100).

Plain numpy, without torch or transformers, in a process of its own that gives its memory back. Weights keep the
precision they were saved in; the compute type is chosen at load. Safetensors only.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from milo.engines.runtime.ct2_cache import TOKENS
from milo.engines.runtime.tensors import read_tensors
from milo.models.files import read_json


class Weights:
    """Tensors of a checkpoint by name, in the precision they were saved in (bfloat16 as float32)."""

    def __init__(self, folder: Path) -> None:
        self._tensors = read_tensors(folder, "", keep_half=True)

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def __getitem__(self, name: str) -> Any:
        if name not in self._tensors:
            raise KeyError(f"the weights have no tensor {name}")
        return self._tensors[name]

    def linear(self, spec: Any, *names: str) -> None:
        """Fill one linear layer, or one made of several side by side. Whisper's key projection has no bias."""
        weights = [self[f"{name}.weight"] for name in names]
        zeros = [np.zeros(len(weight), weight.dtype) for weight in weights]
        biases = [self._tensors.get(f"{name}.bias", zero) for name, zero in zip(names, zeros, strict=True)]
        spec.weight, spec.bias = np.concatenate(weights), np.concatenate(biases)

    def norm(self, spec: Any, name: str) -> None:
        spec.gamma, spec.beta = self[f"{name}.weight"], self[f"{name}.bias"]

    def layer(self, spec: Any, name: str, *, cross: bool) -> None:
        """Fill one transformer layer of the encoder or decoder."""
        own = f"{name}.self_attn"
        self.linear(spec.self_attention.linear[0], f"{own}.q_proj", f"{own}.k_proj", f"{own}.v_proj")
        self.linear(spec.self_attention.linear[1], f"{own}.out_proj")
        self.norm(spec.self_attention.layer_norm, f"{name}.self_attn_layer_norm")
        if cross:
            other = f"{name}.encoder_attn"
            self.linear(spec.attention.linear[0], f"{other}.q_proj")
            self.linear(spec.attention.linear[1], f"{other}.k_proj", f"{other}.v_proj")
            self.linear(spec.attention.linear[2], f"{other}.out_proj")
            self.norm(spec.attention.layer_norm, f"{name}.encoder_attn_layer_norm")
        self.linear(spec.ffn.linear_0, f"{name}.fc1")
        self.linear(spec.ffn.linear_1, f"{name}.fc2")
        self.norm(spec.ffn.layer_norm, f"{name}.final_layer_norm")


def main(build: Callable[[Weights, dict[str, Any], str], Any]) -> None:
    """`python -m … source target`: convert `source` into `target`, which already holds the family's `tokens.json`.

    `build` makes CTranslate2's specification from the weights, config.json and the text of `tokens.json`.
    """
    source, target = map(Path, sys.argv[1:3])
    sys.modules["torch"] = None  # type: ignore[assignment]  # CTranslate2 imports it if it can: seconds, for nothing
    spec = build(Weights(source), read_json(source / "config.json"), (target / TOKENS).read_text(encoding="utf-8"))
    spec.validate()
    spec.optimize()
    spec.save(str(target))
