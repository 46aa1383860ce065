"""What a model folder holds: weights, manifests, fingerprints. JSON and hashes only; nothing here loads a model.

Weights are safetensors, GGUF or CTranslate2's; which of them, a file's first bytes tell (`formats`). Pickles are never
read: a folder that has only those is refused with a sentence.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypedDict

from milo.errors import Invalid, ModelUnavailable, NotFound, TooLarge
from milo.models.formats import MAX_HEADER_BYTES, WHAT, Format, format_of
from milo.storage.opening import open_regular

MANIFEST = "manifest.json"
GUARD = "guard.json"
"""Belongs to a registered name, not to a version of it (`milo.training.guard`)."""
SAFE_WEIGHTS = (".safetensors", ".gguf")
CT2_WEIGHTS = "model.bin"
"""The one name that CTranslate2 opens. Most files of this name are pickles: only the content tells."""
SAFE_TEXT = (".json", ".txt", ".model", ".jinja", ".md")
"""Tokenizers, configurations, model cards. `.model` is a SentencePiece file."""
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".msgpack", ".h5")
TRAINING_ONLY = frozenset({"trainer_state.json", MANIFEST, GUARD})
"""JSON files of a training run that serving has no use for, and our own list."""
MAX_JSON_BYTES = 64 * 1024**2
MAX_WEIGHTS_BYTES = 1024**4


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; `ModelUnavailable` names the file that is missing or damaged."""
    try:
        with open_regular(path, MAX_JSON_BYTES) as stream:
            value = json.load(stream)
    except TooLarge:
        raise ModelUnavailable(f"{path} is larger than {MAX_JSON_BYTES} bytes: not a model's configuration") from None
    except NotFound:
        raise ModelUnavailable(f"{path.name} is missing in {path.parent}") from None
    except (OSError, ValueError) as error:
        raise ModelUnavailable(f"{path} can't be read as JSON: {error}") from None
    if not isinstance(value, dict):
        raise ModelUnavailable(f"{path} holds a JSON {type(value).__name__}, not an object")
    return value


def wanted(name: str) -> bool:
    """Whether a file belongs to a served model (by its name alone)."""
    base = name.rsplit("/", 1)[-1]
    if base.startswith(".") or base in TRAINING_ONLY or "/" in name:
        return False
    return base.endswith(SAFE_WEIGHTS + SAFE_TEXT)


def model_files(folder: Path) -> list[Path]:
    """The served files directly in a folder, sorted by name."""
    files = [path for path in folder.iterdir() if wanted(path.name) and path.is_file()]
    return sorted([*files, folder / CT2_WEIGHTS] if holds_ctranslate2(folder) else files)


def holds_ctranslate2(folder: Path) -> bool:
    """Whether the model of a folder is its CTranslate2 file. Beside weights of transformers, config.json tells whose
    folder it is: CTranslate2's names no `model_type`."""
    if format_of(folder / CT2_WEIGHTS) != "ctranslate2":
        return False
    config = folder / "config.json"
    return not _safe_weights(folder) or (config.is_file() and "model_type" not in read_json(config))


def _safe_weights(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.endswith(SAFE_WEIGHTS) and path.is_file())


def weight_files(folder: Path) -> list[Path]:
    """The weight files of a folder, adapters left out. With a sharded index, every shard must be there."""
    if holds_ctranslate2(folder):
        return [folder / CT2_WEIGHTS]
    index = folder / "model.safetensors.index.json"
    if index.is_file() and not (folder / "model.safetensors").is_file():
        shards = _shards(index)
        missing = [shard for shard in shards if not (folder / shard).is_file()]
        if missing:
            raise ModelUnavailable(f"{folder} is incomplete: {', '.join(missing)} of its weights is missing")
        return [folder / shard for shard in shards]
    return [path for path in _safe_weights(folder) if not path.name.startswith("adapter_")]


def _shards(index: Path) -> list[str]:
    """The files that an index names, each beside it."""
    named = read_json(index).get("weight_map", {})
    shards = sorted(set(map(str, named.values()))) if isinstance(named, dict) else []
    if stray := next(
        (shard for shard in shards if Path(shard).name != shard or not shard.endswith(SAFE_WEIGHTS)), None
    ):
        raise ModelUnavailable(f"{index} names {stray[:100]!r}, which is no weights file beside it")
    return shards


def near(name: str, candidates: Iterable[str]) -> str:
    """` Did you mean …?`, or nothing. A name that differs only in case comes first."""
    pool = sorted(set(candidates) - {name})
    close = [item for item in pool if item.lower() == name.lower()] or get_close_matches(name, pool, n=2, cutoff=0.6)
    return f" Did you mean {' or '.join(close)}?" if close else ""


def check_folder(folder: Path) -> None:
    """Raise `ModelUnavailable` with what is wrong, unless the folder holds weights that Milo can load."""
    if not folder.exists():
        nearest = folder
        while not nearest.parent.is_dir():
            nearest = nearest.parent
        hint = near(nearest.name, (item.name for item in nearest.parent.iterdir()))
        raise ModelUnavailable(f"no folder {folder}: {nearest.parent} has no {nearest.name}.{hint}")
    if not folder.is_dir():
        raise ModelUnavailable(f"{folder} is a file; a model is a folder with config.json and model.safetensors")
    names = sorted(item.name for item in folder.iterdir())
    if found := weight_files(folder):
        for path in found:
            _check_format(path)
        if not (folder / "config.json").is_file() and not any(name.endswith(".gguf") for name in names):
            raise ModelUnavailable(f"{folder} has weights but no config.json")
        return
    if "adapter_model.safetensors" in names:
        detail = "holds a LoRA adapter, not a whole model; merge it into its base model first"
    elif other := [path for path in map(folder.joinpath, names) if format_of(path) not in ("", "pickle")]:
        detail = f"holds no model as it is: {other[0].name} is {WHAT[format_of(other[0])]}"
    elif pickles := [name for name in names if name.endswith(PICKLES) and name not in ("training_args.bin",)]:
        detail = (
            f"holds no safetensors, only {', '.join(pickles[:3])}, and Milo never loads pickled weights;"
            " write them again with save_pretrained(safe_serialization=True)"
        )
    elif checkpoints := [name for name in names if name.startswith("checkpoint-")]:
        detail = f"holds no weights itself; name one of its checkpoints: {', '.join(checkpoints[-3:])}"
    else:
        detail = "holds no model: model.safetensors is missing"
    raise ModelUnavailable(f"{folder} {detail}")


def _check_format(path: Path) -> None:
    """Raises `ModelUnavailable` for a file of weights that is another format than its name says."""
    named: Format = "gguf" if path.suffix == ".gguf" else "safetensors"
    found = format_of(path)
    if found not in ("", named) and path.name != CT2_WEIGHTS:
        raise ModelUnavailable(f"{path} is no {named} file: it is {WHAT[found]}")


def fingerprint(folder: Path) -> str:
    """12 hex digits that change when a served file does: from names, sizes and times, without reading weights."""
    state = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in model_files(folder)]
    return hashlib.sha256(json.dumps(state).encode()).hexdigest()[:12]


def sha256_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def manifest_sha256(files: dict[str, str]) -> str:
    """One hash for a whole model: of the lines `<sha256>  <name>`, sorted by name (what `sha256sum` prints)."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def make_manifest(folder: Path, **extra: Any) -> dict[str, Any]:
    """`{sha256, files: {name: {sha256, bytes}}, …extra}` of the served files in a folder. Reads all of them."""
    files = {path.name: {"sha256": sha256_file(path), "bytes": path.stat().st_size} for path in model_files(folder)}
    digest = manifest_sha256({name: str(entry["sha256"]) for name, entry in files.items()})
    return {"sha256": digest, "files": files, **extra}


class TensorHeader(TypedDict):
    """One tensor, as a safetensors file lists it."""

    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


def safetensors_header(path: Path) -> dict[str, TensorHeader]:
    """The JSON header of a safetensors file: tensor name -> {dtype, shape, data_offsets}."""
    try:
        with open_regular(path, MAX_WEIGHTS_BYTES) as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > min(MAX_HEADER_BYTES, os.fstat(stream.fileno()).st_size):
                raise ModelUnavailable(f"{path} is damaged: its header claims {length} bytes")
            header = json.loads(stream.read(length))
    except (OSError, struct.error, ValueError, NotFound, TooLarge) as error:
        raise ModelUnavailable(f"{path} is not a safetensors file: {error}") from None
    if not isinstance(header, dict):
        raise ModelUnavailable(f"{path} is damaged: its header is not an object")
    header.pop("__metadata__", None)
    return header


def count_parameters(folder: Path) -> tuple[int, str]:
    """(number of parameters, dtype of most of them as safetensors names it) from the headers alone."""
    by_dtype: dict[str, int] = {}
    for path in weight_files(folder):
        if path.suffix != ".safetensors":
            continue
        for tensor in safetensors_header(path).values():
            size = 1
            for side in tensor["shape"]:
                size *= side
            by_dtype[tensor["dtype"]] = by_dtype.get(tensor["dtype"], 0) + size
    return sum(by_dtype.values()), max(by_dtype, key=lambda name: by_dtype[name], default="")


def fsync_folder(folder: Path) -> None:
    """Make renames inside a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, text: str) -> None:
    """Replace a small text file so that a reader, or a crash, sees the old one or the new one, whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
    fsync_folder(path.parent)


def valid_name(name: str) -> str:
    """The folder name of a model in the registry: `owner/name` becomes `owner--name`. `Invalid` for anything else."""
    parts = name.split("/")
    good = all(part and part[0].isalnum() and all(c.isalnum() or c in "._-" for c in part) for part in parts)
    if len(name) > 200 or len(parts) > 2 or not good or not name.isascii() or ".." in name:
        raise Invalid(
            f"{name[:80]!r} is no model name: letters, digits, '.', '_' and '-', with at most one '/' between",
            code="bad_model_name",
        )
    return "--".join(parts)
