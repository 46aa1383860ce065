"""Convert a transformers NLLB (M2M100) checkpoint to CTranslate2, once, and keep it beside the model.

See `milo.engines.runtime.ct2_convert` for how, and `ct2_cache` for where.
"""

from __future__ import annotations

import json
import math
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from milo.engines.nllb.checkpoint import SPECIAL, Checkpoint
from milo.engines.runtime import ct2_cache
from milo.engines.runtime.ct2_convert import Weights, main
from milo.settings import Settings

RECIPE = 1
"""Raise it when a conversion made by an older Milo must not be used."""


def converted(settings: Settings, checkpoint: Checkpoint) -> AbstractContextManager[Path]:
    """The CTranslate2 folder of a checkpoint, made if need be; see `ct2_cache.converted`."""
    tokens = json.dumps(checkpoint.vocabulary)
    return ct2_cache.converted(settings, ct2_cache.Conversion(checkpoint, __name__, RECIPE, tokens))


def positions(count: int, width: int, padding: int = 1) -> npt.NDArray[np.float32]:
    """The sinusoidal positions of M2M100, (count, width): sines, then cosines, from position `padding` + 1 on."""
    half = width // 2
    rates = np.exp(np.arange(half, dtype=np.float32) * np.float32(-math.log(10000) / (half - 1)))
    angles = np.arange(padding + 1, padding + 1 + count, dtype=np.float32)[:, None] * rates[None]
    table = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    return np.ascontiguousarray(np.pad(table, ((0, 0), (0, width - 2 * half))), np.float32)


def nllb_spec(weights: Weights, config: dict[str, Any]) -> Any:
    """The CTranslate2 model of an M2M100 checkpoint, as CTranslate2's own converter builds it."""
    from ctranslate2.specs.common_spec import Activation
    from ctranslate2.specs.transformer_spec import TransformerSpec

    activations = {"relu": Activation.RELU, "gelu": Activation.GELU, "silu": Activation.SWISH}
    if config["activation_function"] not in activations:
        raise ValueError(f"the activation {config['activation_function']!r} is none of {', '.join(activations)}")
    heads = {int(config[f"{side}_attention_heads"]) for side in ("encoder", "decoder")}
    if len(heads) != 1:
        raise ValueError("encoder and decoder have different numbers of attention heads")
    layers = int(config["encoder_layers"]), int(config["decoder_layers"])
    spec = TransformerSpec.from_config(layers, heads.pop(), activation=activations[config["activation_function"]])
    names = ("model.shared.weight", "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight")
    shared = weights[next((name for name in (*names, "lm_head.weight") if name in weights), names[0])]
    width = int(config["d_model"])
    for side, part in (("encoder", spec.encoder), ("decoder", spec.decoder)):
        own = f"model.{side}.embed_tokens.weight"
        embeddings = part.embeddings[0] if isinstance(part.embeddings, list) else part.embeddings
        embeddings.weight = weights[own] if own in weights else shared
        part.scale_embeddings = math.sqrt(width) if config.get("scale_embedding", True) else 1.0
        table = positions(int(config["max_position_embeddings"]), width, int(config["pad_token_id"]))
        part.position_encodings.encodings = table
        weights.norm(part.layer_norm, f"model.{side}.layer_norm")
        for n, layer in enumerate(part.layer):
            weights.layer(layer, f"model.{side}.layers.{n}", cross=side == "decoder")
    spec.decoder.projection.weight = weights["lm_head.weight"] if "lm_head.weight" in weights else shared
    return spec


def _build(weights: Weights, config: dict[str, Any], tokens: str) -> Any:
    spec = nllb_spec(weights, config)
    names = json.loads(tokens)
    spec.register_source_vocabulary(names)
    spec.register_target_vocabulary(names)
    spec.config.bos_token, _, spec.config.eos_token, spec.config.unk_token = SPECIAL
    spec.config.decoder_start_token = names[int(config["decoder_start_token_id"])]
    return spec


if __name__ == "__main__":
    main(_build)
