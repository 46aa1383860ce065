"""A folder of CTranslate2 that holds a Whisper, as `ct2-transformers-converter` writes it: what its files say, in the
terms of transformers, and whether they belong together. Nothing here loads a model.

The sizes are those of the variables in model.bin: CTranslate2's config.json has none. Each variable must have the shape
that they give it, for CTranslate2 looks at few of them before it computes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from milo.errors import ModelUnavailable, NotFound, TooLarge
from milo.models.ct2_file import Header, Variable, read_header
from milo.models.files import CT2_WEIGHTS, MAX_JSON_BYTES, fingerprint, holds_ctranslate2, read_json
from milo.models.tokenizers import read_tokenizer_json
from milo.storage.opening import open_regular

SPEC, REVISIONS = "WhisperSpec", (1, 2, 3)
VOCABULARIES = ("vocabulary.json", "vocabulary.txt")
MAX_MELS = 512
EMBEDDINGS, PROJECTION = "decoder/embeddings/weight", "decoder/projection/weight"
"""One variable under two names in most models."""
FLOATS = ("F32", "F16", "BF16")
WHOLE = ("I8", "I16")
"""Of quantized weights, beside which there is a scale."""
Shapes = dict[str, tuple[int, ...]]


def whisper_config(folder: Path) -> dict[str, Any]:
    """config.json as transformers would write it for this model. Raises `ModelUnavailable` for another kind of model,
    and for a model.bin that is cut off or whose variables do not fit together."""
    header = read_header(folder / CT2_WEIGHTS)
    if header.spec != SPEC:
        raise ModelUnavailable(
            f"{folder} holds a {header.spec[:40]} of CTranslate2; of that format Milo serves Whisper ({SPEC}) only"
        )
    if header.revision not in REVISIONS:
        raise ModelUnavailable(
            f"{folder} holds a {SPEC} of revision {header.revision}; {REVISIONS[-1]} is the newest known"
        )
    try:
        config = _sizes(header)
        _check_shapes(header, config)
    except _Unfit as error:
        raise ModelUnavailable(f"{folder / CT2_WEIGHTS} is no whole Whisper: {error}") from None
    own = read_json(folder / "config.json")
    return config | ({"milo": own["milo"]} if isinstance(own.get("milo"), dict) else {})


def generation_config(folder: Path) -> dict[str, Any]:
    """What transformers has in generation_config.json, from CTranslate2's config.json; the folder's own file wins."""
    own = read_json(folder / "config.json")
    names = {"suppress_tokens": "suppress_ids", "begin_suppress_tokens": "suppress_ids_begin"}
    names |= {"alignment_heads": "alignment_heads"}
    found = {name: own[key] for name, key in names.items() if isinstance(own.get(key), list)}
    stock = folder / "generation_config.json"
    return found | (read_json(stock) if stock.is_file() else {})


def dtype_and_parameters(folder: Path) -> tuple[int, str]:
    """(number of parameters, type of the embeddings as safetensors names it)."""
    header = read_header(folder / CT2_WEIGHTS)
    once = {id(variable): variable for name, variable in header.variables.items() if not name.endswith("_scale")}
    return sum(one.count for one in once.values() if one.shape), header.variables[EMBEDDINGS].dtype


# --- the weights ------------------------------------------------------------------------------------------------------


class _Unfit(Exception):
    pass


def _shape(header: Header, name: str, sides: int) -> tuple[int, ...]:
    variable = header.variables.get(name)
    if variable is None:
        raise _Unfit(f"it has no {name}")
    if len(variable.shape) != sides or not all(variable.shape):
        raise _Unfit(f"{name} has the shape {variable.shape}")
    return variable.shape


def _number(header: Header, name: str) -> int:
    if (variable := header.variables.get(name)) is None or variable.shape or not variable.raw:
        raise _Unfit(f"{name} is no number")
    return variable.number


def _layers(header: Header, side: str) -> int:
    numbers = {int(found[1]) for name in header.variables if (found := re.match(rf"{side}/layer_(\d{{1,4}})/", name))}
    if not numbers or numbers != set(range(len(numbers))):
        raise _Unfit(f"layers of its {side} are missing")
    return len(numbers)


def _sizes(header: Header) -> dict[str, Any]:
    vocabulary, width = _shape(header, EMBEDDINGS, 2)
    config: dict[str, Any] = {"model_type": "whisper", "vocab_size": vocabulary, "d_model": width}
    config["num_mel_bins"] = _shape(header, "encoder/conv1/weight", 3)[1]
    for side, positions in (("encoder", "source"), ("decoder", "target")):
        config[f"max_{positions}_positions"] = _shape(header, f"{side}/position_encodings/encodings", 2)[0]
        config[f"{side}_layers"] = _layers(header, side)
        config[f"{side}_ffn_dim"] = _shape(header, f"{side}/layer_0/ffn/linear_0/weight", 2)[0]
        config[f"{side}_attention_heads"] = heads = _number(header, f"{side}/num_heads")
        if heads < 1 or width % heads:
            raise _Unfit(f"{side}/num_heads is {heads}, and the width is {width}")
    if config["num_mel_bins"] > MAX_MELS:
        raise _Unfit(f"it takes {config['num_mel_bins']} mel bands")
    return config


def _check_shapes(header: Header, config: Mapping[str, Any]) -> None:
    for name, shape in _expected(config).items():
        variable = header.variables.get(name)
        if variable is None:
            raise _Unfit(f"it has no {name}")
        if variable.shape != shape:
            raise _Unfit(f"{name} has the shape {variable.shape}, and {shape} is meant")
        if variable.dtype not in FLOATS:
            _check_scale(header, name, variable)


def _check_scale(header: Header, name: str, variable: Variable) -> None:
    tied = name == PROJECTION and variable is header.variables.get(EMBEDDINGS)
    scale = header.variables.get(f"{EMBEDDINGS if tied else name}_scale")
    rows = variable.shape[:1] if len(variable.shape) > 1 else ()
    if variable.dtype not in WHOLE or not rows:
        raise _Unfit(f"{name} is of the type {variable.dtype}")
    if scale is None or scale.dtype not in FLOATS or scale.shape not in (rows, (), (1,)):
        raise _Unfit(f"{name} is quantized, and its scale is missing or of another size")


def _expected(config: Mapping[str, Any]) -> Shapes:
    width, mels = config["d_model"], config["num_mel_bins"]
    shapes: Shapes = {
        "encoder/conv1/weight": (width, mels, 3),
        "encoder/conv2/weight": (width, width, 3),
        "encoder/conv1/bias": (width,),
        "encoder/conv2/bias": (width,),
        EMBEDDINGS: (config["vocab_size"], width),
        PROJECTION: (config["vocab_size"], width),
        "encoder/position_encodings/encodings": (config["max_source_positions"], width),
        "decoder/position_encodings/encodings": (config["max_target_positions"], width),
        **_norm("encoder/layer_norm", width),
        **_norm("decoder/layer_norm", width),
    }
    for side in ("encoder", "decoder"):
        for number in range(config[f"{side}_layers"]):
            shapes |= _layer(f"{side}/layer_{number}", width, config[f"{side}_ffn_dim"], cross=side == "decoder")
    return shapes


def _layer(name: str, width: int, inner: int, *, cross: bool) -> Shapes:
    own, other, ffn = f"{name}/self_attention", f"{name}/attention", f"{name}/ffn"
    shapes = _norm(f"{own}/layer_norm", width) | _norm(f"{ffn}/layer_norm", width)
    shapes |= _linear(f"{own}/linear_0", 3 * width, width) | _linear(f"{own}/linear_1", width, width)
    shapes |= _linear(f"{ffn}/linear_0", inner, width) | _linear(f"{ffn}/linear_1", width, inner)
    if cross:
        shapes |= _norm(f"{other}/layer_norm", width) | _linear(f"{other}/linear_0", width, width)
        shapes |= _linear(f"{other}/linear_1", 2 * width, width) | _linear(f"{other}/linear_2", width, width)
    return shapes


def _linear(name: str, rows: int, columns: int) -> Shapes:
    return {f"{name}/weight": (rows, columns), f"{name}/bias": (rows,)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}/gamma": (width,), f"{name}/beta": (width,)}


# --- the vocabulary ---------------------------------------------------------------------------------------------------


def read_vocabulary(folder: Path) -> list[str]:
    """The names of the tokens by their numbers, from vocabulary.json or vocabulary.txt; empty where there is none."""
    path = next((folder / name for name in VOCABULARIES if (folder / name).is_file()), None)
    if path is None:
        return []
    try:
        with open_regular(path, MAX_JSON_BYTES) as stream:
            text = stream.read().decode("utf-8")
        names = json.loads(text) if path.suffix == ".json" else text.removesuffix("\n").split("\n")
    except TooLarge:
        raise ModelUnavailable(f"{path} is larger than {MAX_JSON_BYTES} bytes: no vocabulary") from None
    except (OSError, NotFound, ValueError) as error:
        raise ModelUnavailable(f"{path} can't be read: {error}") from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ModelUnavailable(f"{path} is no list of tokens")
    return names


def check_folder_whole(folder: Path) -> None:
    """Raises `ModelUnavailable` for weights, vocabulary and tokenizer that are not of one model. Special tokens had
    other names in older tokenizers."""
    if holds_ctranslate2(folder):
        _check_whole(folder, fingerprint(folder))


@lru_cache(maxsize=16)
def _check_whole(folder: Path, _state: str) -> None:
    size = int(whisper_config(folder)["vocab_size"])
    names = read_vocabulary(folder)
    if names and len(names) != size:
        raise ModelUnavailable(
            f"{folder} has a vocabulary of {len(names)} tokens, and its weights know {size}: they are of"
            " different models"
        )
    tokenizer = folder / "tokenizer.json"
    for token, name in _tokens(tokenizer) if tokenizer.is_file() else ():
        if not 0 <= token < size:
            raise ModelUnavailable(
                f"{tokenizer} has a token {token}, and the weights know {size}: they are of different models"
            )
        if names and names[token] != name and not (name.startswith("<|") and names[token].startswith("<|")):
            raise ModelUnavailable(
                f"token {token} is {name[:40]!r} in {tokenizer} and {names[token][:40]!r} in the vocabulary beside it:"
                " they are of different models"
            )


def _tokens(path: Path) -> list[tuple[int, str]]:
    document = read_tokenizer_json(path)
    listed = (document.get("model") or {}).get("vocab") or {}
    added = document.get("added_tokens") or []
    if not isinstance(listed, dict) or not all(isinstance(token, int) for token in listed.values()):
        raise ModelUnavailable(f"{path} is no tokenizer of Whisper: its vocabulary is no table of names and numbers")
    special = [(one.get("id"), str(one.get("content"))) for one in added if isinstance(one, dict)]
    return [*((token, name) for name, token in listed.items()), *((n, c) for n, c in special if isinstance(n, int))]
