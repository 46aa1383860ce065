"""One Whisper in the formats of other engines: from CTranslate2's model.bin to transformers and to whisper.cpp's ggml.

The names and the fused layers are those of CTranslate2's `WhisperSpec`, OpenAI's and whisper.cpp's
`models/convert-pt-to-ggml.py`. For benchmarks: all engines get the same numbers, in half precision.
"""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from milo.engines.whisper.checkpoint import load_checkpoint
from milo.engines.whisper.features import mel_filters
from milo.models import registry
from milo.models.ct2_whisper import generation_config, whisper_config
from milo.settings import Settings

Tensors = dict[str, Any]
SIDES = (("encoder", False), ("decoder", True))


def read_variables(path: Path) -> Tensors:
    """The variables of a model.bin in half or single precision, by name."""
    dtypes = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
    found: Tensors = {}
    with path.open("rb") as file:

        def number(layout: str) -> int:
            return int(struct.unpack(layout, file.read(struct.calcsize(layout)))[0])

        def text() -> str:
            return file.read(number("<H"))[:-1].decode()

        number("<I"), text(), number("<I")
        for _ in range(number("<I")):
            name = text()
            shape = [number("<I") for _ in range(number("<B"))]
            dtype = dtypes[number("<B")]
            found[name] = np.frombuffer(file.read(number("<I")), dtype).reshape(shape)
    return found


def openai_tensors(variables: Tensors) -> Tensors:
    """Under OpenAI's names: q, k and v apart."""
    out: Tensors = {
        f"encoder.{c}.{k}": variables[f"encoder/{c}/{k}"] for c in ("conv1", "conv2") for k in ("weight", "bias")
    }
    for side, cross in SIDES:
        out[f"{side}.positional_embedding"] = variables[f"{side}/position_encodings/encodings"]
        _norm(out, variables, "encoder.ln_post" if side == "encoder" else "decoder.ln", f"{side}/layer_norm")
        for n in range(sum(name.endswith("ffn/layer_norm/gamma") and name.startswith(side) for name in variables)):
            ours, theirs = f"{side}/layer_{n}", f"{side}.blocks.{n}"
            parts = [("attn", f"{ours}/self_attention", True)] + (
                [("cross_attn", f"{ours}/attention", False)] if cross else []
            )
            for part, path, fused in parts:
                _attention(out, variables, f"{theirs}.{part}", path, fused)
                _norm(out, variables, f"{theirs}.{part}_ln", f"{path}/layer_norm")
            for layer, place in ((0, 0), (1, 2)):
                for kind in ("weight", "bias"):
                    out[f"{theirs}.mlp.{place}.{kind}"] = variables[f"{ours}/ffn/linear_{layer}/{kind}"]
            _norm(out, variables, f"{theirs}.mlp_ln", f"{ours}/ffn/layer_norm")
    out["decoder.token_embedding.weight"] = variables["decoder/embeddings/weight"]
    return out


def _norm(out: Tensors, variables: Tensors, name: str, path: str) -> None:
    out[f"{name}.weight"], out[f"{name}.bias"] = variables[f"{path}/gamma"], variables[f"{path}/beta"]


def _attention(out: Tensors, variables: Tensors, name: str, path: str, fused: bool) -> None:
    layers = [("query", "key", "value"), ("out",)] if fused else [("query",), ("key", "value"), ("out",)]
    for n, parts in enumerate(layers):
        for kind in ("weight", "bias"):
            pieces = np.split(variables[f"{path}/linear_{n}/{kind}"], len(parts))
            out |= {f"{name}.{part}.{kind}": piece for part, piece in zip(parts, pieces, strict=True)}
    del out[f"{name}.key.bias"]  # Whisper's keys have none; CTranslate2 writes zeros


RENAMED = (
    (".blocks.", ".layers."), (".cross_attn_ln.", ".encoder_attn_layer_norm."), (".attn_ln.", ".self_attn_layer_norm."),
    (".mlp_ln.", ".final_layer_norm."), (".cross_attn.", ".encoder_attn."), (".attn.", ".self_attn."),
    (".query.", ".q_proj."), (".key.", ".k_proj."), (".value.", ".v_proj."), (".out.", ".out_proj."),
    (".mlp.0.", ".fc1."), (".mlp.2.", ".fc2."), ("encoder.ln_post.", "encoder.layer_norm."),
    ("decoder.ln.", "decoder.layer_norm."), (".token_embedding.", ".embed_tokens."),
    (".positional_embedding", ".embed_positions.weight"),
)  # fmt: skip


def write_transformers(source: Path, target: Path) -> None:
    """A folder that transformers loads, from one of CTranslate2."""
    from safetensors.numpy import save_file

    tensors = {}
    for name, tensor in openai_tensors(read_variables(source / "model.bin")).items():
        for old, new in RENAMED:
            name = name.replace(old, new)
        tensors[f"model.{name}"] = np.ascontiguousarray(tensor, np.float16)
    target.mkdir(parents=True)
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    checkpoint = load_checkpoint(Settings(home=target), registry.resolve(Settings(home=target), str(source)))
    special = {"eos_token_id": checkpoint.eot, "pad_token_id": checkpoint.eot, "decoder_start_token_id": checkpoint.sot}
    config = {
        "architectures": ["WhisperForConditionalGeneration"],
        "activation_function": "gelu",
        "bos_token_id": checkpoint.eot,
    }
    (target / "config.json").write_text(json.dumps({**whisper_config(source), **config, **special}))
    generation = {
        **generation_config(source),
        **special,
        "max_length": checkpoint.max_positions,
        "is_multilingual": bool(checkpoint.languages),
        "lang_to_id": {f"<|{code}|>": token for code, token in checkpoint.languages.items()},
        "task_to_id": checkpoint.tasks,
        "no_timestamps_token_id": checkpoint.no_timestamps,
    }
    (target / "generation_config.json").write_text(json.dumps(generation))
    shutil.copy(source / "tokenizer.json", target)


def write_ggml(source: Path, target: Path) -> None:
    """A file that whisper.cpp loads, from a folder of CTranslate2."""
    settings = Settings(home=target.parent)
    checkpoint = load_checkpoint(settings, registry.resolve(settings, str(source)))
    config = whisper_config(source)
    sizes = [config["vocab_size"]]
    for side, positions in (("encoder", "max_source_positions"), ("decoder", "max_target_positions")):
        sizes += [config[positions], config["d_model"], config[f"{side}_attention_heads"], config[f"{side}_layers"]]
    with target.open("wb") as file:
        file.write(struct.pack("<I11i", 0x67676D6C, *sizes, config["num_mel_bins"], 1))
        filters = np.ascontiguousarray(mel_filters(config["num_mel_bins"]).T, np.float32)
        file.write(struct.pack("<2i", *filters.shape) + filters.tobytes())
        texts = [raw for token, raw in sorted(checkpoint.token_bytes.items()) if token < checkpoint.eot]
        file.write(struct.pack("<i", len(texts)) + b"".join(struct.pack("<i", len(raw)) + raw for raw in texts))
        for name, tensor in openai_tensors(read_variables(source / "model.bin")).items():
            _write_tensor(file, name, tensor)


def _write_tensor(file: BinaryIO, name: str, tensor: Any) -> None:
    single = tensor.ndim < 2 or name.endswith("positional_embedding")
    data = np.ascontiguousarray(tensor, np.float32 if single else np.float16)
    if name in ("encoder.conv1.bias", "encoder.conv2.bias"):
        data = data.reshape(-1, 1)
    raw = name.encode()
    file.write(struct.pack("<3i", data.ndim, len(raw), 0 if single else 1))
    file.write(struct.pack(f"<{data.ndim}i", *reversed(data.shape)) + raw + data.tobytes())
