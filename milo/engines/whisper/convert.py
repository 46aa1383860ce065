"""Convert a transformers Whisper checkpoint to CTranslate2, once, and keep it beside the model.

The conversion is plain numpy, without torch or transformers, in a process of its own
(`python -m milo.engines.whisper.convert`) that gives its memory back. Weights keep the precision they were saved in;
the compute type is chosen at load. Safetensors only.
"""

from __future__ import annotations

import json
import sys
from contextlib import AbstractContextManager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from milo.engines.runtime import ct2_cache
from milo.engines.runtime.tensors import read_tensors
from milo.engines.whisper.checkpoint import Checkpoint
from milo.models.files import write_durably
from milo.settings import Settings

if TYPE_CHECKING:
    from tokenizers import Tokenizer

RECIPE = 2
"""Raise it when a conversion made by an older Milo must not be used."""


def _runtime_config(checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        "alignment_heads": [list(pair) for pair in checkpoint.alignment_heads],
        "lang_ids": sorted(checkpoint.languages.values()),
        "suppress_ids": checkpoint.suppress,
        "suppress_ids_begin": checkpoint.suppress_begin,
    }


def converted(settings: Settings, checkpoint: Checkpoint) -> AbstractContextManager[Path]:
    """The CTranslate2 folder of a checkpoint, made if need be; see `ct2_cache.converted`."""
    tokenizer, config = checkpoint.tokenizer.to_str(), _runtime_config(checkpoint)

    def make(folder: Path) -> None:
        (folder / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
        ct2_cache.run_converter(__name__, checkpoint.resolved.path, folder)
        (folder / "tokenizer.json").unlink()
        write_durably(folder / "config.json", json.dumps(config))

    state = {"recipe": RECIPE, "tokens": sha256(tokenizer.encode()).hexdigest()[:16], "config": config}
    return ct2_cache.converted(settings, ct2_cache.Conversion(checkpoint.resolved, checkpoint.info, state, make))


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


def whisper_spec(weights: Weights, config: dict[str, Any]) -> Any:
    """The CTranslate2 model of a Whisper checkpoint, as CTranslate2's own converter builds it."""
    from ctranslate2.specs.whisper_spec import WhisperSpec

    sides = ("encoder_layers", "encoder_attention_heads", "decoder_layers", "decoder_attention_heads")
    spec = WhisperSpec(*(int(config[side]) for side in sides))
    for name in ("conv1", "conv2"):
        convolution = getattr(spec.encoder, name)
        convolution.weight = weights[f"model.encoder.{name}.weight"]
        convolution.bias = weights[f"model.encoder.{name}.bias"]
    for side, part in (("encoder", spec.encoder), ("decoder", spec.decoder)):
        part.position_encodings.encodings = weights[f"model.{side}.embed_positions.weight"]
        weights.norm(part.layer_norm, f"model.{side}.layer_norm")
        for n, layer in enumerate(part.layer):
            weights.layer(layer, f"model.{side}.layers.{n}", cross=side == "decoder")
    embedding = weights["model.decoder.embed_tokens.weight"]
    spec.decoder.embeddings.weight = embedding
    spec.decoder.projection.weight = weights["proj_out.weight"] if "proj_out.weight" in weights else embedding
    return spec


def vocabulary(tokenizer: Tokenizer, size: int) -> list[str]:
    """Token names by id, exactly `size`, each once: old tokenizers lack the timestamps, a padded embedding has more
    rows than the tokenizer has tokens.

    CTranslate2 takes a model for multilingual, and detects languages, when it has a token with an empty name, as
    OpenAI's multilingual vocabulary happens to have. Names of text tokens mean nothing to it (Milo passes numbers),
    so one of them becomes that name.
    """
    names = {token: name for name, token in tokenizer.get_vocab(with_added_tokens=True).items()}
    known = max(names, default=-1) + 1
    timed = "<|0.00|>" in names.values()
    fill = [f"<|unused{n}|>" if n < known or timed else f"<|{(n - known) * 0.02:.2f}|>" for n in range(size)]
    listed = [names.get(n, fill[n]) for n in range(size)]
    if "" not in listed:
        listed[next(n for n, name in enumerate(listed) if not name.startswith("<|"))] = ""
    return listed


def main(source: str, target: str) -> None:
    """Convert `source` into `target`, which already holds the tokenizer.json to use."""
    sys.modules["torch"] = None  # type: ignore[assignment]  # CTranslate2 imports it if it can: seconds, for nothing
    from tokenizers import Tokenizer

    config = json.loads((Path(source) / "config.json").read_text(encoding="utf-8"))
    spec = whisper_spec(Weights(Path(source)), config)
    spec.register_vocabulary(
        vocabulary(Tokenizer.from_file(str(Path(target) / "tokenizer.json")), config["vocab_size"])
    )
    spec.validate()
    spec.optimize()
    spec.save(target)


if __name__ == "__main__":
    main(*sys.argv[1:3])
