"""Convert a transformers Whisper checkpoint to CTranslate2, once, and keep it beside the model. One that is in
CTranslate2's format already is only linked.

See `milo.engines.runtime.ct2_convert` for how, and `ct2_cache` for where.
"""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milo.engines.runtime import ct2_cache
from milo.engines.runtime.ct2_convert import Weights, main
from milo.engines.whisper.checkpoint import Checkpoint
from milo.models.configuration import read_configuration
from milo.models.files import CT2_WEIGHTS, holds_ctranslate2, write_durably
from milo.settings import Settings

if TYPE_CHECKING:
    from tokenizers import Tokenizer

RECIPE = 2
"""Raise it when a conversion made by an older Milo must not be used."""


def converted(settings: Settings, checkpoint: Checkpoint) -> AbstractContextManager[Path]:
    """The CTranslate2 folder of a checkpoint, made if need be; see `ct2_cache.converted`."""
    config = {
        "alignment_heads": [list(pair) for pair in checkpoint.alignment_heads],
        "lang_ids": sorted(checkpoint.languages.values()),
        "suppress_ids": checkpoint.suppress,
        "suppress_ids_begin": checkpoint.suppress_begin,
    }
    tokens = checkpoint.tokenizer.to_str()
    kind = Linked if holds_ctranslate2(checkpoint.resolved.path) else ct2_cache.Conversion
    return ct2_cache.converted(settings, kind(checkpoint, __name__, RECIPE, tokens, config))


class Linked(ct2_cache.Conversion):
    """A folder of CTranslate2's own: its weights as they are, under a configuration and a vocabulary that were checked.

    CTranslate2 takes the heads of the alignment and the suppressed tokens of config.json as they come.
    """

    beside = False
    checkpoint: Checkpoint

    def fill(self, folder: Path) -> None:
        source = self.checkpoint.resolved.path
        (folder / CT2_WEIGHTS).symlink_to(source.resolve() / CT2_WEIGHTS)
        size = int(read_configuration(source)["vocab_size"])
        names = vocabulary(self.checkpoint.tokenizer, size)
        (folder / "vocabulary.json").write_text(json.dumps(names), encoding="utf-8")
        write_durably(folder / ct2_cache.CONFIG, json.dumps(self.config))


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
    own = max(names, default=-1) + 1
    timed = "<|0.00|>" in names.values()
    fill = [f"<|unused{n}|>" if n < own or timed else f"<|{(n - own) * 0.02:.2f}|>" for n in range(size)]
    listed = [names.get(n, fill[n]) for n in range(size)]
    if "" not in listed:
        listed[next(n for n, name in enumerate(listed) if not name.startswith("<|"))] = ""
    return listed


def _build(weights: Weights, config: dict[str, Any], tokens: str) -> Any:
    from tokenizers import Tokenizer

    spec = whisper_spec(weights, config)
    spec.register_vocabulary(vocabulary(Tokenizer.from_str(tokens), config["vocab_size"]))
    return spec


if __name__ == "__main__":
    main(_build)
