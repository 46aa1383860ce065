"""A configuration that the weights do not bear out is refused by headers alone, before anything is built."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from milo.errors import ModelUnavailable
from milo.models.shapes import check_adapter, check_config
from milo.models.store import embedded_path

Tensors = dict[str, Any]


def written(folder: Path, tensors: dict[str, tuple[int, ...]], config: dict[str, Any]) -> dict[str, Any]:
    save_file({name: np.zeros(shape, np.float32) for name, shape in tensors.items()}, folder / "model.safetensors")
    return config


def whisper(folder: Path) -> dict[str, Any]:
    tensors = {"model.decoder.embed_tokens.weight": (50, 8), "model.encoder.embed_positions.weight": (30, 8)}
    tensors |= {"model.decoder.embed_positions.weight": (20, 8), "model.encoder.conv1.weight": (8, 4, 3)}
    tensors |= {f"model.{side}.layers.{n}.fc1.weight": (16, 8) for side in ("encoder", "decoder") for n in range(2)}
    config = {"model_type": "whisper", "vocab_size": 50, "d_model": 8, "num_mel_bins": 4}
    config |= {"max_source_positions": 30, "max_target_positions": 20}
    for side in ("encoder", "decoder"):
        config |= {f"{side}_layers": 2, f"{side}_ffn_dim": 16, f"{side}_attention_heads": 2}
    return written(folder, tensors, config)


def nllb(folder: Path) -> dict[str, Any]:
    tensors = {"model.shared.weight": (50, 8)}
    tensors |= {f"model.{side}.layers.{n}.fc1.weight": (16, 8) for side in ("encoder", "decoder") for n in range(2)}
    config = {"model_type": "m2m_100", "vocab_size": 50, "d_model": 8, "max_position_embeddings": 1024}
    for side in ("encoder", "decoder"):
        config |= {f"{side}_layers": 2, f"{side}_ffn_dim": 16, f"{side}_attention_heads": 2}
    return written(folder, tensors, config)


def vits(folder: Path) -> dict[str, Any]:
    layer = "text_encoder.encoder.layers"
    tensors: dict[str, tuple[int, ...]] = {f"{layer}.{n}.feed_forward.conv_1.weight": (16, 8, 3) for n in range(2)}
    tensors |= {"text_encoder.embed_tokens.weight": (20, 8)} | {f"decoder.{n}.weight": (1,) for n in range(100)}
    config = {"model_type": "vits", "vocab_size": 20, "hidden_size": 8, "ffn_dim": 16, "num_hidden_layers": 2}
    config |= {"num_attention_heads": 2, "prior_encoder_num_flows": 2, "prior_encoder_num_wavenet_layers": 2}
    config |= {"upsample_rates": [8, 8], "upsample_kernel_sizes": [16, 16], "resblock_dilation_sizes": [[1, 3]]}
    return written(folder, tensors, config | {"sampling_rate": 16_000})


@pytest.mark.parametrize("name", ["milo-tiny-mg", "milo-tiny-nllb"])
def test_the_embedded_models_are_what_they_say(name: str) -> None:
    folder = embedded_path(name)
    assert folder
    check_config(folder, json.loads((folder / "config.json").read_text()))


@pytest.mark.parametrize("make", [whisper, nllb, vits])
def test_a_model_that_says_what_it_is_passes(make: Callable[[Path], dict[str, Any]], tmp_path: Path) -> None:
    check_config(tmp_path, make(tmp_path))


WRONG: list[tuple[Callable[[Path], dict[str, Any]], str, Any]] = [
    *((whisper, f"{side}_layers", 3_000_000) for side in ("encoder", "decoder")),
    *((whisper, f"{side}_ffn_dim", 10**9) for side in ("encoder", "decoder")),
    *((whisper, f"{side}_attention_heads", 10**9) for side in ("encoder", "decoder")),
    *((whisper, key, 10**9) for key in ("vocab_size", "d_model", "max_source_positions", "max_target_positions")),
    (whisper, "num_mel_bins", 10**9),
    *((whisper, "encoder_layers", value) for value in (-1, 0, 1, True, "2", 2.0, None, [2])),
    *((nllb, key, 10**9) for key in ("encoder_layers", "vocab_size", "d_model", "decoder_ffn_dim")),
    (nllb, "max_position_embeddings", 10**9),
    *((vits, key, 10**9) for key in ("num_hidden_layers", "vocab_size", "hidden_size", "ffn_dim", "window_size")),
    *((vits, f"{part}_num_flows", 10**9) for part in ("prior_encoder", "duration_predictor")),
    *((vits, f"{part}_num_wavenet_layers", 10**9) for part in ("prior_encoder", "posterior_encoder")),
    *((vits, key, 10**9) for key in ("depth_separable_num_layers", "num_attention_heads", "sampling_rate")),
    (vits, "upsample_rates", [8, 10**9]),
    (vits, "upsample_kernel_sizes", [16] * 100_000),
    (vits, "resblock_dilation_sizes", [[1] * 1000] * 1000),
]


@pytest.mark.parametrize(("make", "key", "value"), WRONG, ids=[f"{m.__name__}-{k}-{str(v)[:12]}" for m, k, v in WRONG])
def test_what_the_weights_do_not_bear_out_is_refused(
    make: Callable[[Path], dict[str, Any]], key: str, value: Any, tmp_path: Path
) -> None:
    config = make(tmp_path) | {key: value}
    with pytest.raises(ModelUnavailable, match="config.json"):
        check_config(tmp_path, config)


def adapter(folder: Path, **changed: Any) -> Path:
    a, b = "base_model.model.q_proj.lora_A.weight", "base_model.model.q_proj.lora_B.weight"
    save_file({a: np.zeros((4, 8), np.float32), b: np.zeros((8, 4), np.float32)}, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 4, "target_modules": ["q_proj", "v_proj"], "rank_pattern": {}} | changed
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def test_an_adapter_that_says_what_it_is_passes(tmp_path: Path) -> None:
    check_adapter(adapter(tmp_path))


@pytest.mark.parametrize(
    "changed",
    [
        {"r": 10**9},
        {"r": 0},
        {"peft_type": "PREFIX_TUNING"},
        {"target_modules": "(a+)+$"},
        {"target_modules": ["(a|a)*b"]},
        {"rank_pattern": {"(a+)+": 4}},
        {"rank_pattern": {"q_proj": 10**9}},
        {"alpha_pattern": {"(a+)+": 4}},
        {"layers_pattern": "(a+)+"},
        {"modules_to_save": ["x" * 1000]},
    ],
    ids=str,
)
def test_an_adapter_that_its_weights_do_not_bear_out_is_refused(changed: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="adapter|config.json"):
        check_adapter(adapter(tmp_path, **changed))
