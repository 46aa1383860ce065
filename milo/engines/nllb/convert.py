"""Convert a transformers NLLB (M2M100) checkpoint to CTranslate2 (see `ct2_cache`).

Plain numpy, without torch or transformers. Weights keep the precision they were saved in. Safetensors only.
"""

from __future__ import annotations

import json
import math
import sys
from contextlib import AbstractContextManager
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from milo.engines.nllb.checkpoint import SPECIAL, Checkpoint
from milo.engines.runtime import ct2_cache
from milo.engines.whisper.convert import Weights
from milo.models.files import write_durably
from milo.settings import Settings

RECIPE = 1
"""Raise it when a conversion made by an older Milo must not be used."""
TOKENS = "tokens.json"


def converted(settings: Settings, checkpoint: Checkpoint) -> AbstractContextManager[Path]:
    """The CTranslate2 folder of a checkpoint; see `ct2_cache.converted`."""
    tokens = json.dumps(checkpoint.vocabulary)

    def make(folder: Path) -> None:
        write_durably(folder / TOKENS, tokens)
        ct2_cache.run_converter(__name__, checkpoint.resolved.path, folder)

    state = {"recipe": RECIPE, "tokens": sha256(tokens.encode()).hexdigest()[:16]}
    return ct2_cache.converted(settings, ct2_cache.Conversion(checkpoint.resolved, checkpoint.info, state, make))


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


def main(source: str, target: str) -> None:
    """Convert `source` into `target`, which already holds the tokens."""
    sys.modules["torch"] = None  # type: ignore[assignment]  # CTranslate2 imports it if it can: seconds, for nothing
    config = json.loads((Path(source) / "config.json").read_text(encoding="utf-8"))
    tokens = json.loads((Path(target) / TOKENS).read_text(encoding="utf-8"))
    spec = nllb_spec(Weights(Path(source)), config)
    spec.register_source_vocabulary(tokens)
    spec.register_target_vocabulary(tokens)
    spec.config.bos_token, _, spec.config.eos_token, spec.config.unk_token = SPECIAL
    spec.config.decoder_start_token = tokens[int(config["decoder_start_token_id"])]
    spec.validate()
    spec.optimize()
    spec.save(target)
    (Path(target) / TOKENS).unlink()


if __name__ == "__main__":
    main(*sys.argv[1:3])
