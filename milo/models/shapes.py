"""Whether a configuration describes the weights beside it, by headers alone: before anything is built from it.

A config.json of three million layers, or a vocabulary of billions, costs whoever sent it nothing and the worker
everything. Each size must be a side of the tensor that has it, each count the number of tensors that there are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from milo.errors import ModelUnavailable
from milo.models.files import safetensors_header, weight_files

Shapes = Mapping[str, tuple[int, ...]]
MAX_POSITIONS = 16_384
"""Of positions that are computed and not stored; NLLB has 1,024."""
MAX_UNUSED_LAYERS = 256
"""Of the part of VITS that only training uses, which may have no tensor here."""
RATES_HZ = (1_000, 384_000)


@dataclass(frozen=True)
class Family:
    """What config.json of one model type must have in common with the weights."""

    sides: Mapping[str, tuple[tuple[str, ...], int]]
    """Key -> names of the tensor that has this side (the first one that is there counts), and which side."""
    stacks: Mapping[str, str] = field(default_factory=dict)
    """Key -> the beginning of the names of its layers, up to their number."""
    heads: Mapping[str, str] = field(default_factory=dict)
    """Key -> the key of the width that the heads share."""


_SHARED = ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
_FFN = {f"{side}_ffn_dim": ((f"{side}.layers.0.fc1.weight",), 0) for side in ("encoder", "decoder")}
_STACKS = {f"{side}_layers": f"{side}.layers." for side in ("encoder", "decoder")}
_HEADS = {f"{side}_attention_heads": "d_model" for side in ("encoder", "decoder")}
FAMILIES: Mapping[str, Family] = {
    "whisper": Family(
        {
            "d_model": (("decoder.embed_tokens.weight",), 1),
            "vocab_size": (("decoder.embed_tokens.weight",), 0),
            "max_source_positions": (("encoder.embed_positions.weight",), 0),
            "max_target_positions": (("decoder.embed_positions.weight",), 0),
            "num_mel_bins": (("encoder.conv1.weight",), 1),
            **_FFN,
        },
        _STACKS,
        _HEADS,
    ),
    "m2m_100": Family({"d_model": (_SHARED, 1), "vocab_size": (_SHARED, 0), **_FFN}, _STACKS, _HEADS),
    "vits": Family(
        {
            "vocab_size": (("text_encoder.embed_tokens.weight",), 0),
            "hidden_size": (("text_encoder.embed_tokens.weight",), 1),
            "ffn_dim": (("text_encoder.encoder.layers.0.feed_forward.conv_1.weight",), 0),
        },
        {"num_hidden_layers": "text_encoder.encoder.layers."},
        {"num_attention_heads": "hidden_size"},
    ),
}


def check_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Raises `ModelUnavailable` with the key of config.json that the weights in the folder do not bear out."""
    family = FAMILIES.get(str(config.get("model_type")))
    files = [path for path in weight_files(folder) if path.suffix == ".safetensors"]
    if family is None or not files:
        return
    shapes = {name: tuple(tensor["shape"]) for path in files for name, tensor in safetensors_header(path).items()}
    for key, (names, axis) in family.sides.items():
        if key in config:
            _check_side(key, _count(config, key), _find(shapes, names), names[0], axis)
    for key, beginning in family.stacks.items():
        if key in config and _count(config, key) != (there := _layers(shapes, beginning)):
            raise ModelUnavailable(f"config.json says {key}={config[key]}, and the weights have {there} layers there")
    for key, width in family.heads.items():
        if key in config and width in config and _count(config, key) > _count(config, width):
            raise ModelUnavailable(f"config.json says {key}={config[key]}, more than {width}={config[width]}")
    if config["model_type"] == "vits":
        _check_vits(config, len(shapes))
    if _count(config, "max_position_embeddings", 1) > MAX_POSITIONS:
        raise ModelUnavailable(f"config.json says max_position_embeddings={config['max_position_embeddings']}")


def _check_side(key: str, value: int, shape: tuple[int, ...] | None, tensor: str, axis: int) -> None:
    if shape is None:
        raise ModelUnavailable(
            f"config.json says {key}={value}, and the weights have no tensor {tensor} that bears it out"
        )
    if len(shape) <= axis or shape[axis] != value:
        raise ModelUnavailable(f"config.json says {key}={value}, and {tensor} of the weights has the shape {shape}")


def _find(shapes: Shapes, names: tuple[str, ...]) -> tuple[int, ...] | None:
    """The shape of the first of these tensors that is there, whatever stands before its name."""
    for wanted in names:
        for name, shape in shapes.items():
            if name == wanted or name.endswith(f".{wanted}"):
                return shape
    return None


def _layers(shapes: Shapes, beginning: str) -> int:
    number = re.compile(rf"(?:^|\.){re.escape(beginning)}(\d+)\.")
    return len({found[1] for name in shapes if (found := number.search(name))})


def _count(config: Mapping[str, Any], key: str, default: int | None = None) -> int:
    value = config.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ModelUnavailable(f"config.json says {key}={str(value)[:60]}; a number of 1 or more is meant")
    return value


def _check_vits(config: Mapping[str, Any], tensors: int) -> None:
    """What VITS is built of beyond its text encoder: each part has tensors of its own, so there are no more parts."""
    flows, wavenet = "prior_encoder_num_flows", "prior_encoder_num_wavenet_layers"
    parts = _count(config, flows, 4) * _count(config, wavenet, 4)
    for key in ("duration_predictor_num_flows", "depth_separable_num_layers", "window_size"):
        parts = max(parts, _count(config, key, 1))
    kernels, rates = _counts(config, "upsample_kernel_sizes"), _counts(config, "upsample_rates")
    dilations = [len(one) for one in config.get("resblock_dilation_sizes", []) if isinstance(one, list)]
    parts = max(parts, len(kernels) * (1 + sum(dilations)))
    if parts > tensors or _count(config, "posterior_encoder_num_wavenet_layers", 1) > MAX_UNUSED_LAYERS:
        raise ModelUnavailable(f"config.json describes more layers than the {tensors} tensors of the weights can be")
    if any(rate > kernel for rate, kernel in zip(rates, kernels, strict=False)):
        raise ModelUnavailable(f"config.json says upsample_rates={rates}, more than upsample_kernel_sizes={kernels}")
    if not RATES_HZ[0] <= _count(config, "sampling_rate", 16_000) <= RATES_HZ[1]:
        raise ModelUnavailable(f"config.json says sampling_rate={config['sampling_rate']}, which is none of sound")


def _counts(config: Mapping[str, Any], key: str) -> list[int]:
    values = config.get(key, [])
    if not isinstance(values, list) or len(values) > MAX_UNUSED_LAYERS:
        raise ModelUnavailable(f"config.json says {key}={str(values)[:60]}; a short list of numbers is meant")
    return [_count({key: value}, key) for value in values]


# --- adapters ---------------------------------------------------------------------------------------------------------


def check_adapter(folder: Path) -> None:
    """Raises `ModelUnavailable` for a LoRA adapter whose configuration its weights do not bear out.

    peft takes some names for regular expressions; only plain names are let through, for an expression can be made
    that takes years to match.
    """
    from milo.models.files import read_json

    config = read_json(folder / "adapter_config.json")
    shapes = {n: t["shape"] for n, t in safetensors_header(folder / "adapter_model.safetensors").items()}
    if config.get("peft_type") != "LORA":
        raise ModelUnavailable(f"{folder} holds no LoRA adapter but {str(config.get('peft_type'))[:40]!r}")
    rank = _count(config, "r")
    ranks = {shape[0] for name, shape in shapes.items() if name.endswith("lora_A.weight") and shape}
    patterns = {key: config.get(key) or {} for key in ("rank_pattern", "alpha_pattern")}
    if not ranks or (ranks != {rank} and not patterns["rank_pattern"]) or rank > max(ranks):
        raise ModelUnavailable(f"adapter_config.json says r={rank}, and the adapter's weights have {sorted(ranks)}")
    names: list[Any] = [name for pattern in patterns.values() for name in pattern]
    for key in ("target_modules", "modules_to_save", "exclude_modules", "layers_pattern"):
        value = config.get(key) or []
        names += value if isinstance(value, list) else [value]
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(r"[\w.-]{1,200}", name):
            raise ModelUnavailable(f"adapter_config.json names the module {str(name)[:60]!r}; plain names are taken")
    for key, value in patterns["rank_pattern"].items():
        if not isinstance(value, int) or value not in ranks:
            raise ModelUnavailable(f"adapter_config.json says rank_pattern.{key}={str(value)[:20]}; no tensor has that")
